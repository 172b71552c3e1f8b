use tower_layer::Layer;

use super::ModelScope;

/// Layer that applies [`ModelScope`].
///
/// See the [module docs](super) for an example.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ModelScopeLayer;

impl ModelScopeLayer {
    /// Creates the layer.
    pub fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for ModelScopeLayer {
    type Service = ModelScope<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ModelScope::new(inner)
    }
}
