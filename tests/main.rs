#[cfg(feature = "cask")]
mod cask;
