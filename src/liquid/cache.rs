//! Values of nodes that asked to be cached: what a node made of the same script and the same inputs,
//! with the same rights, is taken again for as long as it said.

use rhai::Dynamic;

use super::format::{CacheRow, ValueRow};
use super::node::Node;
use super::scripts::Ready;
use super::{Liquid, values};
use crate::kernel::access::Caller;
use crate::kernel::error::Result;
use crate::kernel::format::{decode, encode};
use crate::kernel::name::Digest;
use crate::kernel::records::{ChangeSet, Expect, Scan};

/// How many rows are looked at in one go when old ones are forgotten.
const PAGE: usize = 1000;

fn key(digest: &Digest) -> String {
    format!("cache/{digest}")
}

/// What a node's values depend on: the whole script, its function, how it shares out, its inputs, and
/// who may see what it saw. Nothing where an input cannot be compared.
pub(super) fn digest(
    ready: &Ready,
    node: &Node,
    arguments: &[Dynamic],
    caller: &Caller,
) -> Option<Digest> {
    node.cache?;
    let mut said = ready.digest().0.to_vec();
    let mut add = |bytes: &[u8]| {
        said.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        said.extend_from_slice(bytes);
    };
    add(node.function.as_bytes());
    add(format!("{:?} {:?} {:?}", node.task, node.inputs, node.environment).as_bytes());
    add(format!("{:?}", node.outputs).as_bytes());
    // A script does what its caller may: nobody is given what another one's rights made.
    add(format!("{:?}", (&caller.name, caller.role, &caller.scopes)).as_bytes());
    for argument in arguments {
        let ValueRow { form, bytes } = values::keep(argument)?;
        add(&[form]);
        add(&bytes);
    }
    Some(Digest::of(&said))
}

impl Liquid {
    /// The values that were made before, by their names; none where they cannot be read.
    pub(super) fn cached(&self, node: &Node, digest: &Digest) -> Option<Vec<(String, Dynamic)>> {
        self.find_cached(node, digest).unwrap_or_else(|error| {
            tracing::warn!(node = node.name, %error, "the cached values of a node cannot be read");
            None
        })
    }

    fn find_cached(&self, node: &Node, digest: &Digest) -> Result<Option<Vec<(String, Dynamic)>>> {
        let Some(row) = self.0.records.get(&key(digest))? else { return Ok(None) };
        let row: CacheRow = decode(&row.value)?;
        let names = node.outputs.values();
        if row.until <= self.now() || names.len() != row.values.len() {
            return Ok(None);
        }
        let restored = names
            .into_iter()
            .zip(&row.values)
            .map(|(name, value)| Ok((name.to_owned(), values::restore(value)?)));
        restored.collect::<Result<_>>().map(Some)
    }

    /// Keeps the values that a node made, if all of them can be.
    pub(super) fn cache(&self, node: &Node, digest: &Digest, made: &[(String, Dynamic)]) {
        let values: Option<Vec<ValueRow>> =
            made.iter().map(|(_, value)| values::keep(value)).collect();
        let (Some(values), Some(age)) = (values, node.cache) else { return };
        let row = CacheRow { until: self.now().after(age), values };
        let kept = encode(&row).and_then(|row| {
            self.0.records.apply(ChangeSet::new().put(key(digest), Expect::Any, row))
        });
        if let Err(error) = kept {
            tracing::warn!(node = node.name, %error, "the values of a node were not cached");
        }
    }

    /// Forgets cached values that are too old; answers how many.
    pub(super) fn forget_cached(&self) -> Result<usize> {
        let (mut after, mut gone) = (None, 0);
        loop {
            let mut scan = Scan::prefix("cache/").limit(PAGE);
            scan.after = after;
            let rows = self.0.records.scan(&scan)?;
            let Some(last) = rows.last() else { return Ok(gone) };
            after = Some(last.key.clone());
            let mut set = ChangeSet::new();
            let mut old = 0;
            for row in rows {
                if decode::<CacheRow>(&row.value)?.until <= self.now() {
                    set = set.delete(row.key, Expect::Any);
                    old += 1;
                }
            }
            if old > 0 {
                self.0.records.apply(set)?;
            }
            gone += old;
        }
    }
}
