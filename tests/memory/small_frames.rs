//! Small frames that hyper hands on, each of which pins the read buffer that it was cut from.
