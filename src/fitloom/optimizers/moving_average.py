# SPDX-License-Identifier: Apache-2.0
"""`tf.train.ExponentialMovingAverage`."""
from fitloom import engine


class ExponentialMovingAverage:
    """Keep averages of variables: `average = decay * average + (1 - decay) * variable` at each `apply`.

    Args:
        decay: weight of the past.
        num_updates: with it the decay is at most (1 + num_updates) / (10 + num_updates).
        zero_debias: begin with 0 and divide by 1 - decay ** applications.
    """

    def __init__(self, decay, num_updates=None, zero_debias=False, name="ExponentialMovingAverage"):
        self.decay, self.num_updates, self.zero_debias, self._name = decay, num_updates, zero_debias, name
        self._averages, self._count = {}, 0

    @property
    def name(self):
        """The name given."""
        return self._name

    def apply(self, var_list=None):
        """Update the averages of variables; the first time they begin with the variables' values."""
        if var_list is None:
            raise ValueError("ExponentialMovingAverage.apply needs the list of variables.")
        decay = self.decay
        if self.num_updates is not None:
            decay = min(float(decay), (1 + float(self.num_updates)) / (10 + float(self.num_updates)))
        self._count += 1
        for variable in var_list:
            found = self._averages.get(id(variable))
            if found is None:
                start = variable * 0 if self.zero_debias else variable
                found = engine.Variable(start, trainable=False, name=f"{variable.name.split(':')[0]}/{self._name}")
                self._averages[id(variable)] = (variable, found)
            else:
                found = found[1]
            found.assign(found * decay + variable * (1 - decay))

    def average(self, var):
        """Return the Variable that holds the average of `var`, or None; with `zero_debias` its corrected value."""
        found = self._averages.get(id(var))
        if found is None or not self.zero_debias:
            return found and found[1]
        return found[1] / (1 - float(self.decay) ** self._count)

    def average_name(self, var):
        """Return the name of the average of `var`."""
        found = self._averages.get(id(var))
        return found[1].name if found else f"{var.name.split(':')[0]}/{self._name}"

    def variables_to_restore(self, moving_avg_variables=None):
        """Return name -> average."""
        return {average.name: average for _, average in self._averages.values()}
