#![cfg(test)]
//! What is told, when, and what the log says of it.

use std::time::Duration;

use drip::fiche::{Conditions, DeliveryState, Stage, Status};
use drip::kernel::Name;
use serde_json::json;

use super::receiver::{Mode, Receiver};
use super::{
    SECRET, ada, assert_in_order, observe, observer, open, open_over, patient, quick, save,
    save_many, small, wait_log, wait_until,
};
use crate::fiche::key;

#[test]
fn every_event_arrives_in_order_and_signed_whatever_the_receiver_does() {
    let fiche = open(quick());
    save(&fiche, small("before")).unwrap();
    let mut receiver = Receiver::new(Mode::Answers(200));
    observe(&fiche, "hq", &receiver.url(), json!({}));
    save_many(&fiche, 2..=5);
    receiver.wait_taken(5);
    let phases = [
        (Mode::Answers(500), "it answered 500"),
        (Mode::Hangs, "no answer within 400ms"),
        (Mode::HangsUp, "the connection broke"),
        (Mode::Answers(404), "it answered 404"),
    ];
    let mut last = 5;
    for (mode, error) in &phases {
        receiver.behave(mode.clone());
        save_many(&fiche, last + 1..=last + 4);
        wait_until(&fiche, "hq", error, |hq| {
            hq.state.status == Status::Failing
                && hq.state.failures > 1
                && hq.state.last_error.as_deref().is_some_and(|why| why.contains(error))
        });
        // One entry for all tries of the first message; the others wait behind it.
        wait_log(&fiche, "hq", |log| {
            log[0].number == last + 1
                && (log[0].state, log[0].tries > 1) == (DeliveryState::Failed, true)
                && log[0].error.as_deref().is_some_and(|why| why.contains(error))
        });
        last += 4;
        receiver.behave(Mode::Answers(204));
        receiver.wait_taken(last);
    }
    receiver.behave(Mode::IsSlow(Duration::from_millis(30)));
    save_many(&fiche, last + 1..=last + 3);
    receiver.wait_taken(last + 3);
    receiver.go_away();
    save_many(&fiche, last + 4..=last + 6);
    wait_until(&fiche, "hq", "nobody is there", |hq| {
        hq.state.last_error.as_deref().is_some_and(|why| why.starts_with("cannot connect"))
    });
    receiver.behave(Mode::Answers(200));
    receiver.come_back();
    last += 6;
    receiver.wait_taken(last);

    assert_in_order(&receiver.taken(), 2, last);
    let changes = fiche.changes(0, 1000).unwrap();
    for seen in receiver.seen() {
        assert!(seen.is_signed_with(SECRET) && !seen.is_signed_with("another"), "{seen:?}");
        let number = usize::try_from(seen.number()).unwrap();
        assert_eq!(seen.body, serde_json::to_string(&changes[number - 1]).unwrap());
        assert_eq!(seen.header("content-type"), Some("application/json"));
        assert!(seen.header("user-agent").unwrap().starts_with("Drip/"));
        let names: Vec<_> = seen.json().as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, ["number", "event", "card", "at"]);
    }
    let hq = wait_until(&fiche, "hq", "all is told", |hq| hq.state.status == Status::Current);
    assert_eq!((hq.state.cursor, hq.state.behind, hq.state.failures), (last, 0, 0));
    assert_eq!((hq.state.last_error, hq.state.failing_since), (None, None));
    assert_eq!(hq.state.delivered, last - 1);

    // One entry for each, and those that failed say how often, and what they met last.
    let log = wait_log(&fiche, "hq", |log| log.len() as u64 == last - 1);
    let numbers: Vec<_> = log.iter().rev().map(|delivery| delivery.number).collect();
    assert_eq!(numbers, (2..=last).collect::<Vec<_>>());
    for at in 0..phases.len() as u64 {
        let first_of_phase = 6 + 4 * at;
        let found = log.iter().find(|delivery| delivery.number == first_of_phase).unwrap();
        assert!(found.tries > 2 && found.error.is_some(), "{found:?}");
        assert_eq!((found.state, found.status), (DeliveryState::Delivered, Some(204)));
    }
    assert_eq!((log.last().unwrap().tries, &log.last().unwrap().error), (1, &None));
    fiche.close();
}

#[test]
fn an_observer_that_hangs_delays_no_other() {
    let fiche = open(patient());
    let (stuck, well) = (Receiver::new(Mode::Hangs), Receiver::new(Mode::Answers(200)));
    observe(&fiche, "stuck", &stuck.url(), json!({}));
    observe(&fiche, "well", &well.url(), json!({}));
    save_many(&fiche, 1..=40);
    well.wait_taken(40);
    assert_in_order(&well.taken(), 1, 40);
    stuck.wait("the first message", |seen| !seen.is_empty());
    assert_eq!((stuck.seen().len(), stuck.taken()), (1, vec![]));
    let waiting = Name::new("stuck").unwrap();
    let pending = fiche.deliveries(&waiting, Some(DeliveryState::Pending), None, 1000).unwrap();
    assert_eq!(pending.len(), 40);
    assert_eq!((pending[0].number, pending[0].card.as_str()), (1, "model:m1@1"));
    // Closing waits for no receiver.
    fiche.close();
}

#[test]
fn what_was_not_told_before_the_end_is_told_after_a_new_start() {
    let records = std::sync::Arc::new(drip::kernel::records::MemoryRecords::new());
    let fiche = open_over(records.clone(), quick());
    let receiver = Receiver::new(Mode::Answers(200));
    observe(&fiche, "hq", &receiver.url(), json!({}));
    save_many(&fiche, 1..=3);
    receiver.wait_taken(3);
    receiver.behave(Mode::Answers(503));
    save_many(&fiche, 4..=9);
    wait_until(&fiche, "hq", "it fails", |hq| hq.state.failures > 2);
    fiche.close();
    // Nobody is told while it is closed, and writing still works.
    save_many(&fiche, 10..=12);
    drop(fiche);
    receiver.behave(Mode::Answers(200));
    let fiche = open_over(records, quick());
    receiver.wait_taken(12);
    // What was delivered and recorded before is not told again.
    assert_eq!(receiver.taken(), (1..=12).collect::<Vec<_>>());
    let log = wait_log(&fiche, "hq", |log| log.len() == 12);
    let fourth = log.iter().find(|delivery| delivery.number == 4).unwrap();
    assert!(fourth.tries > 3, "its tries before the end count: {fourth:?}");
}

#[test]
fn only_what_is_wanted_is_told() {
    let fiche = open(quick());
    let receivers: Vec<_> = (0..4).map(|_| Receiver::new(Mode::Answers(200))).collect();
    let filters = [
        json!({"kinds": ["model", "dataset"]}),
        json!({"names": ["wind-*", "pv"]}),
        json!({"events": ["card.staged", "card.deleted"]}),
        json!({"stages": ["deployed"], "kinds": "model"}),
    ];
    for (at, (receiver, filter)) in receivers.iter().zip(filters).enumerate() {
        observe(&fiche, &format!("o{at}"), &receiver.url(), filter);
    }
    let card = |kind: &str, name: &str| json!({"kind": kind, "name": name, "version": "1"});
    save(&fiche, card("model", "wind-power")).unwrap(); // 1
    save(&fiche, card("algorithm", "wind-curve")).unwrap(); // 2
    save(&fiche, card("dataset", "pv")).unwrap(); // 3
    let power = key("model", "wind-power", "1");
    fiche.stage(&ada(), &power, Stage::Deployed, "").unwrap(); // 4
    fiche.stage(&ada(), &power, Stage::Retired, "").unwrap(); // 5
    fiche.delete(&ada(), &key("dataset", "pv", "1"), Conditions::default()).unwrap(); // 6
    save(&fiche, card("model", "solar")).unwrap(); // 7
    let expected: [&[u64]; 4] = [&[1, 3, 4, 5, 6, 7], &[1, 2, 3, 4, 5, 6], &[4, 5, 6], &[4]];
    for (at, (receiver, expected)) in receivers.iter().zip(expected).enumerate() {
        let name = format!("o{at}");
        wait_until(&fiche, &name, "all is looked at", |found| found.state.behind == 0);
        assert_eq!(receiver.taken(), expected, "{name}");
    }
}

#[test]
fn an_observer_that_is_called_is_tried_at_once() {
    let fiche = open(patient());
    let (gone, here) = (Receiver::new(Mode::HangsUp), Receiver::new(Mode::Answers(200)));
    observe(&fiche, "hq", &gone.url(), json!({}));
    save_many(&fiche, 1..=3);
    wait_until(&fiche, "hq", "it fails", |hq| hq.state.failures == 1);
    // The next try is due in an hour: only the new address brings it about before.
    let saved = observe(&fiche, "hq", &here.url(), json!({}));
    assert_eq!(saved.revision, 2);
    here.wait_taken(3);
    wait_until(&fiche, "hq", "it is told", |hq| hq.state.status == Status::Current);
    assert_in_order(&here.taken(), 1, 3);

    observe(&fiche, "hq", &here.url(), json!({"enabled": false}));
    save_many(&fiche, 4..=6);
    let asleep = observer(&fiche, "hq");
    assert_eq!((asleep.state.status, asleep.state.behind), (Status::Disabled, 3));
    observe(&fiche, "hq", &here.url(), json!({"enabled": true}));
    here.wait_taken(6);
    wait_until(&fiche, "hq", "it is told", |hq| hq.state.status == Status::Current);
    assert_in_order(&here.taken(), 1, 6);

    // Saved as it is, it is no new revision, and yet a call.
    here.behave(Mode::Answers(500));
    save_many(&fiche, 7..=7);
    let failing = wait_until(&fiche, "hq", "it fails", |hq| hq.state.failures == 1);
    here.behave(Mode::Answers(200));
    assert_eq!(observe(&fiche, "hq", &here.url(), json!({})).revision, failing.revision);
    here.wait_taken(7);
}

#[test]
fn a_receiver_that_is_gone_is_left_alone_until_it_is_called() {
    let fiche = open(quick());
    let receiver = Receiver::new(Mode::Answers(410));
    observe(&fiche, "hq", &receiver.url(), json!({}));
    save_many(&fiche, 1..=3);
    let stopped =
        wait_until(&fiche, "hq", "it is stopped", |hq| hq.state.status == Status::Stopped);
    assert_eq!(stopped.state.last_error.as_deref(), Some("it answered 410 Gone"));
    assert_eq!(stopped.state.next_try_at, None);
    save_many(&fiche, 4..=4);
    assert_eq!(receiver.seen().len(), 1);
    receiver.behave(Mode::Answers(200));
    observe(&fiche, "hq", &receiver.url(), json!({}));
    receiver.wait_taken(4);
    assert_in_order(&receiver.taken(), 1, 4);
}

#[test]
fn a_redirect_is_a_failure_and_is_not_followed() {
    let fiche = open(quick());
    let elsewhere = Receiver::new(Mode::Answers(200));
    let receiver = Receiver::new(Mode::Says(307, "location", elsewhere.url()));
    observe(&fiche, "hq", &receiver.url(), json!({}));
    save_many(&fiche, 1..=1);
    let failing = wait_until(&fiche, "hq", "it fails", |hq| hq.state.failures > 1);
    assert!(failing.state.last_error.unwrap().contains("redirects are not followed"));
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn a_receiver_may_ask_to_be_left_alone_for_longer() {
    let terms = drip::kernel::push::Terms { longest_wait: Duration::from_hours(1), ..quick() };
    let fiche = open(terms);
    let receiver = Receiver::new(Mode::Says(429, "retry-after", "600".into()));
    observe(&fiche, "hq", &receiver.url(), json!({}));
    save_many(&fiche, 1..=1);
    let failing = wait_until(&fiche, "hq", "it fails", |hq| hq.state.failures == 1);
    assert_eq!(failing.state.next_try_at.unwrap().to_string(), "2023-11-14T22:23:20.000000Z");
}

#[test]
fn an_observer_made_again_begins_anew() {
    let fiche = open(quick());
    let failing = Receiver::new(Mode::Answers(500));
    observe(&fiche, "hq", &failing.url(), json!({}));
    save_many(&fiche, 1..=3);
    wait_until(&fiche, "hq", "it fails", |hq| hq.state.failures > 1);
    let name = Name::new("hq").unwrap();
    fiche.forget_observer(&ada(), &name, Conditions::default()).unwrap();
    // Another one: what was on its way when the first was forgotten may still come to it.
    let receiver = Receiver::new(Mode::Answers(200));
    save_many(&fiche, 4..=4);
    let made = observe(&fiche, "hq", &receiver.url(), json!({}));
    assert_eq!((made.revision, made.state.cursor), (1, 4));
    save_many(&fiche, 5..=6);
    receiver.wait_taken(6);
    assert_eq!(receiver.taken(), [5, 6]);
    let log = wait_log(&fiche, "hq", |log| log.len() == 2);
    assert!(log.iter().all(|delivery| delivery.tries == 1));
}
