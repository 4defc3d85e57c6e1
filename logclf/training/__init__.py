"""Training: corpus, features, fit, calibration, artifact. Needs the `train` extra; nothing here loads on the stream."""
