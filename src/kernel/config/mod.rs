//! Settings with provenance: defaults, then `drip.toml`, then the environment (`DRIP_*`), then
//! flags. Whoever asks for a value can also ask where it came from.
//!
//! The loader knows no slice: each slice publishes its own [`Key`]s, and whoever composes the
//! program passes them all in. A setting that nobody published is an error with a suggestion, never
//! something that is read and ignored. Every fault of every layer is reported at once.
//!
//! Nothing here is written to disk, and nothing is read again after [`Settings::load`].
//!
//! In the environment, `__` stands for the dot: `DRIP_SERVER__LISTEN` is `server.listen`. Lists are
//! separated by commas. `DRIP_URL` and `DRIP_TOKEN` belong to the client and are not settings;
//! `DRIP_CONFIG` names the file, `DRIP_DATA` is another name for `DRIP_SERVER__DATA` (both are
//! taken as absent when they are empty). Any other variable that begins with `DRIP_` is an error.
//!
//! A secret can stand in a file of its own: `secret_key_file = "path"` instead of `secret_key`, in
//! any layer, but never both.

mod error;
mod file;
#[cfg(feature = "cli")]
pub mod import;
mod key;
mod keys;
mod load;
mod names;
mod sample;
mod secret;
mod settings;
mod value;

pub use key::{Key, KeyKind, Rule};
pub use keys::KERNEL_KEYS;
pub use load::LoadOptions;
pub use sample::sample;
pub use secret::Secret;
pub use settings::{Row, Section, Settings, Source};
pub use value::{Value, parse_bytes, show_bytes};

#[cfg(test)]
mod tests;
