//! The centre's side: a push is taken in, whole or not at all, in one change set with the row that
//! remembers how far the node's feed is here.

use std::collections::BTreeMap;

use serde_json::json;

use super::content::here;
use super::decide::{Decision, Reason, decide};
use super::format::{ConflictV1, PusherV1, StandV1, conflict_row, pusher_row};
use super::wire::{
    Outcome, Push, Pushed, PushedEvent, Verdict, out_of_step, own_upstream, same_node_name,
};
use crate::fiche::Fiche;
use crate::fiche::model::CardKey;
use crate::fiche::plan::{CARD_CONFLICTED, Plan, Taken};
use crate::kernel::Result;
use crate::kernel::access::Caller;
use crate::kernel::format::{decode, encode};
use crate::kernel::records::{ChangeSet, Expect, Records};

impl Fiche {
    /// Takes in what a node pushes: every event exactly once, however often it is sent.
    pub fn receive(&self, caller: &Caller, push: &Push) -> Result<Pushed> {
        let own = self.feed_id()?;
        if push.feed == own {
            return Err(own_upstream());
        }
        if push.node == *self.node() {
            return Err(same_node_name(&push.node));
        }
        self.settle_conflicts(&push.node)?;
        let outcomes = match push.to {
            Some(_) => self.attempt(|| self.take_in(caller, push, &own))?,
            None => Vec::new(),
        };
        let known = known(self.records().as_ref(), &push.feed)?.map(|(_, row)| row);
        Ok(Pushed {
            node: self.node().to_string(),
            feed: own,
            cursor: known.as_ref().map_or(0, |row| row.cursor),
            mark: known.map(|row| row.mark),
            conflicts: self.records().count(&format!("conflict/{}/", push.node))?,
            outcomes,
        })
    }

    fn take_in(&self, caller: &Caller, push: &Push, own: &str) -> Result<Planned> {
        let (records, now) = (self.records().as_ref(), self.now());
        let known = known(records, &push.feed)?;
        let cursor = known.as_ref().map_or(0, |(_, row)| row.cursor);
        if cursor != push.after {
            return Err(out_of_step(push.after, cursor));
        }
        let plan = Plan::new(records, &self.inner.config, caller, now);
        let mut taking = Taking { plan, push, own, conflicts: BTreeMap::new() };
        let outcomes = push.events.iter().map(|event| taking.take(event)).collect::<Result<_>>()?;
        let (mut set, events) = taking.finish()?;
        if let Some((to, mark)) = push.to {
            let row = PusherV1 { node: push.node.to_string(), cursor: to, mark, at: now };
            let expect = known.map_or(Expect::Absent, |(revision, _)| Expect::Revision(revision));
            set = set.put(pusher_row(&push.feed), expect, encode(&row)?);
        }
        Ok((outcomes, set, events))
    }
}

/// How far a feed is here, with the revision of the row that says so.
fn known(records: &dyn Records, feed: &str) -> Result<Option<(u64, PusherV1)>> {
    let row = records.get(&pusher_row(feed))?;
    row.map(|row| Ok((row.revision, decode(&row.value)?))).transpose()
}

type Planned = (Vec<Outcome>, ChangeSet, Vec<crate::kernel::Event>);

struct Taking<'a> {
    plan: Plan<'a>,
    push: &'a Push,
    /// The id of the feed here.
    own: &'a str,
    /// The last word on each card: the conflict about it, or none.
    conflicts: BTreeMap<CardKey, Option<(ConflictV1, u64)>>,
}

impl Taking<'_> {
    fn take(&mut self, event: &PushedEvent) -> Result<Outcome> {
        let verdict = if event.through.iter().any(|feed| feed == self.own) {
            (Verdict::Known, None)
        } else {
            self.decided(event)?
        };
        Ok(Outcome {
            number: event.number,
            card: event.key.to_string(),
            outcome: verdict.0,
            reason: verdict.1,
            revision: self.plan.newest(&event.key)?.map(|row| row.revision),
        })
    }

    fn decided(&mut self, event: &PushedEvent) -> Result<(Verdict, Option<Reason>)> {
        let newest = self.plan.newest(&event.key)?;
        let here = here(newest.as_ref())?;
        let decision = decide(&here, event.base.as_ref(), event.pushed().as_ref());
        let conflict = match decision {
            Decision::Conflict(reason) => {
                let revision = newest.map_or(0, |row| row.revision);
                Some((self.conflict(event, reason), revision))
            }
            Decision::Apply | Decision::Unchanged => None,
        };
        self.conflicts.insert(event.key.clone(), conflict);
        Ok(match decision {
            Decision::Unchanged => (Verdict::Unchanged, None),
            Decision::Conflict(reason) => (Verdict::Conflict, Some(reason)),
            Decision::Apply => {
                self.apply(event)?;
                (Verdict::Applied, None)
            }
        })
    }

    fn apply(&mut self, event: &PushedEvent) -> Result<()> {
        let through = self.through(event);
        let Some((draft, content)) = &event.card else {
            return self.plan.take_away(&event.key, &event.by, &through);
        };
        let node = event.origin.as_ref().unwrap_or(&self.push.node);
        let taken = Taken {
            draft,
            content: *content,
            node: node.as_str(),
            by: &event.by,
            comment: &event.comment,
            through: &through,
        };
        self.plan.take(&taken)
    }

    fn through(&self, event: &PushedEvent) -> Vec<String> {
        let mut through = event.through.clone();
        through.push(self.push.feed.clone());
        through
    }

    fn conflict(&self, event: &PushedEvent, reason: Reason) -> ConflictV1 {
        let fields_json = event.card.as_ref().map(|(draft, _)| draft.fields_json.clone());
        ConflictV1 {
            number: event.number,
            event: event.event.clone(),
            reason: reason.as_str().to_owned(),
            at: self.plan.now(),
            by: event.by.clone(),
            comment: event.comment.clone(),
            origin: event.origin.as_ref().unwrap_or(&self.push.node).to_string(),
            through: self.through(event),
            pushed: event.pushed().as_ref().map(StandV1::of),
            fields_json: fields_json.unwrap_or_default(),
            revision: event.revision,
        }
    }

    /// Writes the conflicts that still stand, takes away those that ended, and answers the whole.
    fn finish(mut self) -> Result<(ChangeSet, Vec<crate::kernel::Event>)> {
        let node = self.push.node.as_str();
        for (key, conflict) in std::mem::take(&mut self.conflicts) {
            let at = conflict_row(node, &key);
            let before = self.plan.records().get(&at)?;
            let Some((row, revision)) = conflict else {
                if before.is_some() {
                    self.plan.change(|set| set.delete(at, Expect::Any));
                }
                continue;
            };
            // What made it a conflict must still hold when it is written.
            self.plan.hold(&key)?;
            let old = before.map(|row| decode::<ConflictV1>(&row.value)).transpose()?;
            let is_news = old.is_none_or(|old| {
                (old.pushed, old.reason) != (row.pushed.clone(), row.reason.clone())
            });
            let value = encode(&row)?;
            self.plan.change(|set| set.put(at, Expect::Any, value));
            if is_news {
                let payload = json!({"revision": revision, "node": node, "reason": row.reason});
                self.plan.tell_more(&key, CARD_CONFLICTED, payload)?;
            }
        }
        Ok(self.plan.finish())
    }
}
