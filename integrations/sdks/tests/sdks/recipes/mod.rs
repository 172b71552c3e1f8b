//! The code of the guide `sdks`.

use super::adapter;

#[path = "../../../../../src/docs/sdks/async_openai.rs"]
pub mod async_openai;
#[path = "../../../../../src/docs/sdks/reqwest_middleware.rs"]
pub mod reqwest_middleware;
#[path = "../../../../../src/docs/sdks/rig.rs"]
pub mod rig;
