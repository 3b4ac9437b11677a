//! What becomes of one pushed change: the decision alone, of what stands here, what the node last knew
//! and what it has now.

use serde::{Deserialize, Serialize};

use crate::fiche::model::Stage;
use crate::kernel::name::Digest;

/// How a card stands: its stage, and the digest of its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stand {
    /// Its stage.
    pub stage: Stage,
    /// The digest of its content.
    pub digest: Digest,
}

/// What stands under a name here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Here {
    /// There never was such a card.
    Never,
    /// It was deleted.
    Gone,
    /// It is there.
    There(Stand),
}

/// Why a push was not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A card of this name and version with other content was here before the node's.
    ExistsHere,
    /// The card was changed here, too, since the node last knew it.
    ChangedHere,
    /// The card was deleted here, and the node changed it.
    DeletedHere,
    /// The node deleted the card, and it was changed here.
    DeletedThere,
}

impl Reason {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExistsHere => "exists_here",
            Self::ChangedHere => "changed_here",
            Self::DeletedHere => "deleted_here",
            Self::DeletedThere => "deleted_there",
        }
    }

    pub(super) fn known(word: &str) -> Option<Self> {
        [Self::ExistsHere, Self::ChangedHere, Self::DeletedHere, Self::DeletedThere]
            .into_iter()
            .find(|reason| reason.as_str() == word)
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Take it over.
    Apply,
    /// It stands so already.
    Unchanged,
    /// Keep both.
    Conflict(Reason),
}

/// Decides. `base` is how the card stood at the node right before, none when it was not there;
/// `pushed` is how it stands there now, none when it was deleted.
pub(super) fn decide(here: &Here, base: Option<&Stand>, pushed: Option<&Stand>) -> Decision {
    let stands = match here {
        Here::There(stand) => Some(stand),
        Here::Never | Here::Gone => None,
    };
    if stands == pushed {
        return Decision::Unchanged;
    }
    // Where nothing ever was, nothing can be lost: a centre that begins anew takes what it is given.
    if stands == base || *here == Here::Never {
        return Decision::Apply;
    }
    Decision::Conflict(match (stands, base, pushed) {
        (None, _, _) => Reason::DeletedHere,
        (Some(_), _, None) => Reason::DeletedThere,
        (Some(_), None, Some(_)) => Reason::ExistsHere,
        (Some(_), Some(_), Some(_)) => Reason::ChangedHere,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stand(text: &str) -> Option<Stand> {
        let (content, stage) = text.split_once('!').unwrap_or((text, "experiment"));
        (text != "-").then(|| Stand {
            stage: stage.parse().unwrap(),
            digest: Digest::of(content.as_bytes()),
        })
    }

    /// Every combination of what may stand here, what was known, and what comes: `-` is no card, and
    /// `never` one that there never was.
    #[test]
    fn every_case_has_its_decision() {
        use Decision::{Apply, Conflict, Unchanged};
        use Reason::{ChangedHere, DeletedHere, DeletedThere, ExistsHere};
        for (here, base, pushed, expected) in [
            // A new card.
            ("never", "-", "x", Apply),
            ("-", "-", "x", Apply),
            ("x", "-", "x", Unchanged),
            ("y", "-", "x", Conflict(ExistsHere)),
            // A change.
            ("x", "x", "x2", Apply),
            ("x2", "x", "x2", Unchanged),
            ("y", "x", "x2", Conflict(ChangedHere)),
            ("-", "x", "x2", Conflict(DeletedHere)),
            ("never", "x", "x2", Apply),
            // A change back.
            ("x", "x2", "x", Unchanged),
            // A move.
            ("x", "x", "x!testing", Apply),
            ("x!testing", "x", "x!testing", Unchanged),
            ("x!deployed", "x", "x!testing", Conflict(ChangedHere)),
            ("x!deployed", "x", "x2", Conflict(ChangedHere)),
            // A deletion.
            ("x", "x", "-", Apply),
            ("-", "x", "-", Unchanged),
            ("never", "x", "-", Unchanged),
            ("y", "x", "-", Conflict(DeletedThere)),
            ("x!testing", "x", "-", Conflict(DeletedThere)),
        ] {
            let stands = match here {
                "never" => Here::Never,
                "-" => Here::Gone,
                text => Here::There(stand(text).unwrap()),
            };
            let decided = decide(&stands, stand(base).as_ref(), stand(pushed).as_ref());
            assert_eq!(decided, expected, "here {here}, base {base}, pushed {pushed}");
        }
    }

    #[test]
    fn nothing_that_was_changed_here_is_ever_overwritten() {
        let states = ["-", "x", "y", "z", "x!testing"];
        for here in states {
            for base in states {
                for pushed in states {
                    let stands = stand(here).map_or(Here::Gone, Here::There);
                    let (base, pushed) = (stand(base), stand(pushed));
                    let decided = decide(&stands, base.as_ref(), pushed.as_ref());
                    assert_eq!(decided == Decision::Unchanged, stand(here) == pushed);
                    assert!(decided != Decision::Apply || stand(here) == base);
                }
            }
        }
    }

    #[test]
    fn reasons_go_both_ways() {
        for reason in [Reason::ExistsHere, Reason::ChangedHere, Reason::DeletedHere] {
            assert_eq!(Reason::known(reason.as_str()), Some(reason));
        }
        assert_eq!(Reason::known("because"), None);
    }
}
