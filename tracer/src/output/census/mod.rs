//! A census rendered for people: the findings first, then everything in one table.

mod text;

pub use self::text::render;
