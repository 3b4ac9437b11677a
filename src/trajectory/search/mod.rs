//! How records are found again.
//!
//! `filter` is what is asked, `chunk` what may hold it, `select` which rows of a block do; `query`,
//! `histogram` and `values` are what is made of them.

mod chunk;
mod condition;
pub(super) mod filter;
pub(super) mod histogram;
mod need;
pub(super) mod query;
pub(super) mod select;
mod sweep;
pub(super) mod text;
pub(super) mod values;
