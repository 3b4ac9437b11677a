//! Edge to centre: a node pushes its cards to another Drip, whenever there is a network.
//!
//! The *node* follows its own change feed and sends what changed, in order, every revision; the
//! *centre* takes it in. Saving never waits for it. Days without a network cost nothing but the time to
//! catch up.
//!
//! # The call
//!
//! `POST /api/v1/cards:push` with `{node, feed, after, to, mark, events}`:
//! "this is all that happened in my feed after number `after`, up to `to`". `feed` is the id of the
//! node's data folder, drawn once; `mark` is the digest of event `to`. Each event has the card as it
//! stood (`card`, `digest`), and how it stood right before (`base`). The centre answers
//! `{node, feed, cursor, mark, conflicts, outcomes}`, an outcome being `applied`, `unchanged`,
//! `conflict` with a reason, or `known` for what came from the centre itself. A push without events
//! and without `to` only asks where the node stands.
//!
//! **Exactly once in effect.** The centre keeps one row for each feed: the number that it has taken in
//! and its mark. It takes a push only if `after` is that number, and moves the row in the change set
//! that holds the cards. A push that is sent twice, late, or again after its answer was lost meets
//! another number: 409 `push_out_of_step`, nothing done. Then the node asks where it stands and goes on
//! from there. So the centre's row decides; the node's own cursor is only its memory of it.
//!
//! **A data folder that was put back.** A node that asks compares the mark with its own event of that
//! number. If it differs, this folder was restored from a copy, or cloned: the node draws a new feed
//! id and pushes everything again, which changes nothing where contents are equal. A centre that was put
//! back simply names an earlier number.
//!
//! # Conflicts
//!
//! A push is applied if the card stands at the centre as the node last knew it (`base`), and is
//! unchanged if it stands there already as pushed: see `decide`. Anything else is a conflict: the
//! centre's card stays as it is, the pushed document is kept beside it (the newest of each node; the
//! earlier ones stay in the node's own history), and `card.conflicted` stands in the centre's feed. The
//! node keeps its own card, and counts the conflict in its status. What ends a conflict: a later push
//! that is equal to the centre's card; the centre's card becoming equal to what was pushed; or
//! `POST /api/v1/cards:resolve` at the centre with `keep: mine` (the centre's) or `theirs`.
//!
//! # What a pushed card looks like
//!
//! `node` beside `saved_by` names the node that the content came from; it is absent for content that
//! was written here. It stands in the card's own row (`card.v2`), so reading costs nothing more, and
//! it is no content: equal content stays unchanged. Stage and author come along; times are those of
//! the Drip that the card is read from.
//!
//! # Chains and circles
//!
//! What was pushed here is pushed further, if this Drip has an upstream too. Each event remembers the
//! feeds it came `through`; an event is never sent to a feed that it came through, and a Drip refuses a
//! push from itself or from a node of its own name.
//!
//! # What the centre refuses
//!
//! A card that the centre cannot take (a kind that is not declared there) holds up nobody: the node puts
//! it aside with the reason, goes on, and tries it again from time to time.

mod conflicts;
mod content;
mod decide;
mod format;
#[cfg(feature = "client")]
mod gather;
mod identity;
#[cfg(feature = "client")]
mod push;
mod receive;
mod status;
#[cfg(feature = "client")]
#[cfg(test)]
mod tests;
mod wire;

pub use conflicts::{Conflict, ConflictFilter, Keep};
pub use decide::{Reason, Stand};
#[cfg(feature = "client")]
pub use push::Pusher;
pub use status::{Standing, Trouble};
pub use wire::{Outcome, Push, Pushed, PushedEvent, Verdict};

pub(super) use status::Live;
#[cfg(any(feature = "http", all(test, feature = "client")))]
pub(super) use wire::read_push;
