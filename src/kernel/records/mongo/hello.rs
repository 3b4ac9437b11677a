//! Whether a server can hold records, read from how it greets.

use mongodb::bson::Document;

/// Wire version of MongoDB 5.0, the first that reads as of one moment outside of transactions.
const OLDEST: i32 = 13;

/// Why a server cannot hold records; none when it can.
pub(super) fn refusal(hello: &Document) -> Option<&'static str> {
    let has = |field: &str| hello.contains_key(field);
    let is_router = hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid");
    if hello.get_bool("isreplicaset").unwrap_or(false) {
        return Some(
            "its replica set was never initiated, so it has no transactions: run `rs.initiate()` \
             once in its shell",
        );
    }
    if !has("setName") && !is_router {
        return Some(
            "it runs alone, without replication, so it has no transactions: start it as a replica \
             set of one (`mongod --replSet rs0`, then `rs.initiate()` once in its shell)",
        );
    }
    if !has("logicalSessionTimeoutMinutes") {
        return Some("it has no sessions, so it has no transactions: use MongoDB 5.0 or newer");
    }
    if hello.get_i32("maxWireVersion").unwrap_or(0) < OLDEST {
        return Some(
            "it is older than MongoDB 5.0, which is the oldest that can be read as of one moment",
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongodb::bson::doc;

    /// What a primary of MongoDB 7 answers, as far as it matters.
    fn primary() -> Document {
        doc! {
            "isWritablePrimary": true, "setName": "rs0", "hosts": ["db:27017"], "me": "db:27017",
            "maxWireVersion": 21, "minWireVersion": 0, "logicalSessionTimeoutMinutes": 30,
            "readOnly": false, "ok": 1.0,
        }
    }

    #[test]
    fn replica_sets_and_routers_are_taken() {
        assert_eq!(refusal(&primary()), None);
        let router = doc! {
            "isWritablePrimary": true, "msg": "isdbgrid", "maxWireVersion": 21,
            "logicalSessionTimeoutMinutes": 30, "ok": 1.0,
        };
        assert_eq!(refusal(&router), None);
    }

    #[test]
    fn what_has_no_transactions_is_refused_with_what_to_do() {
        let mut alone = primary();
        alone.remove("setName");
        alone.remove("hosts");
        assert!(refusal(&alone).unwrap().contains("mongod --replSet"));
        let mut fresh = alone.clone();
        fresh.insert("isreplicaset", true);
        assert!(refusal(&fresh).unwrap().contains("rs.initiate()"));
        let mut sessionless = primary();
        sessionless.remove("logicalSessionTimeoutMinutes");
        assert!(refusal(&sessionless).unwrap().contains("no sessions"));
    }

    #[test]
    fn what_is_too_old_is_refused() {
        for (wire, is_refused) in [(9, true), (12, true), (13, false), (27, false)] {
            let mut hello = primary();
            hello.insert("maxWireVersion", wire);
            assert_eq!(refusal(&hello).is_some(), is_refused, "{wire}");
        }
    }
}
