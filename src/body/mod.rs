//! How one request's body is played again, and how an answer's body is read and handed on.

mod decode;
