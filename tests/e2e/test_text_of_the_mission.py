# SPDX-License-Identifier: Apache-2.0
"""The snippets that users of the original know by heart, word for word, one after the other in one script."""
import pathlib
import subprocess
import sys
import textwrap

SCRIPT = """
import numpy as np
import fitloom as tf

(x_train, y_train), (x_test, y_test) = tf.keras.datasets.digits.load_data()
x_train, y_train = x_train[:384], y_train[:384]
x_val, y_val, x_input = x_test[:100], y_test[:100], x_test[:5]


def create_model():
    return tf.keras.Sequential([tf.keras.Input(x_train.shape[1:]), tf.keras.layers.Flatten(),
                                tf.keras.layers.Dense(32, activation='relu'),
                                tf.keras.layers.Dense(10, activation='softmax')])


model = create_model()
model.compile(
    optimizer='adam',
    loss='sparse_categorical_crossentropy',
    metrics=['accuracy']
)

callbacks = [
    tf.keras.callbacks.EarlyStopping(patience=3),
    tf.keras.callbacks.ModelCheckpoint('best_model.h5', save_best_only=True)
]
log_dir = 'logs/'
tensorboard_callback = tf.keras.callbacks.TensorBoard(log_dir='logs/')
history = model.fit(
    x_train, y_train,
    epochs=10,
    batch_size=32,
    validation_data=(x_val, y_val),
    callbacks=callbacks + [tensorboard_callback]
)
model.evaluate(x_test, y_test)
predictions = model.predict(x_input)
assert predictions.shape == (5, 10)
assert list(history.history) == ['accuracy', 'loss', 'val_accuracy', 'val_loss']

best = tf.keras.models.load_model('best_model.h5')
assert abs(best.evaluate(x_val, y_val, verbose=0)[0] - min(history.history['val_loss'])) < 1e-5

train_dataset = tf.data.Dataset.from_tensor_slices((x_train, y_train)).shuffle(384).batch(32).prefetch(tf.data.AUTOTUNE)
val_dataset = tf.data.Dataset.from_tensor_slices((x_val, y_val)).batch(32).cache()
model.fit(train_dataset, epochs=10, validation_data=val_dataset)
model.fit(train_dataset.repeat(), epochs=2, steps_per_epoch=12)

num_epochs = 2
loss_fn = tf.keras.losses.SparseCategoricalCrossentropy()
optimizer = tf.keras.optimizers.Adam()
for epoch in range(num_epochs):
    for x_batch, y_batch in train_dataset:
        with tf.GradientTape() as tape:
            y_pred = model(x_batch, training=True)
            loss = loss_fn(y_batch, y_pred)
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables))
assert float(loss) < 0.5

strategy = tf.distribute.MirroredStrategy()
with strategy.scope():
    model = create_model()
    model.compile('adam', 'sparse_categorical_crossentropy', metrics=['accuracy'], jit_compile=True)
model.fit(train_dataset, epochs=2, verbose=0)
tf.keras.mixed_precision.set_global_policy('mixed_bfloat16')
model = create_model()
model.compile('adam', 'sparse_categorical_crossentropy', metrics=['accuracy'])
model.fit(x_train, y_train, epochs=1, verbose=0)
print('the end', sorted(history.history))
"""


def test_the_text_runs_word_for_word(tmp_path):
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT), encoding="utf-8")
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert done.stdout.strip().endswith("the end ['accuracy', 'loss', 'val_accuracy', 'val_loss']")
    assert list(pathlib.Path(tmp_path, "logs").rglob("events*")) and "Warning" not in done.stderr
