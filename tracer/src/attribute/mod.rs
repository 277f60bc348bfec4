//! Attribution of bytes: stacks become categories and owners, by rules that are data.
//!
//! Takes named frames and where the bytes came from; gives the category, the frame that told it,
//! and the application's frame which a person can change. Does no I/O but for reading a file of
//! rules, and knows nothing of sizes. `docs/attribution.md` describes the rules.

mod application;
mod classify;
mod library;
mod pattern;
mod rules;
mod source;

pub use application::Application;
pub use classify::{Attribution, FrameTraits};
pub use library::{known_name, without_random_numbers};
pub use pattern::plain_name;
pub use rules::{Nature, Rules, RulesError};
pub use source::Source;
