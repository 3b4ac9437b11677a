//! Schedules under a clock that is set by hand.

use super::*;
use drip::liquid::{Overlap, RunFilter, RunState, ScheduleSpec};
use serde_json::json;

const ECHO: &str =
    "fn f(scheduled_at) { scheduled_at } pipeline([node(f, \"scheduled_at\", \"at\")])";
const ENDLESS: &str = "fn f() { loop { } } pipeline([node(f, [], \"at\")])";

fn spec(body: Value) -> ScheduleSpec {
    ScheduleSpec::read(body.as_object().unwrap()).unwrap()
}

fn put(liquid: &Liquid, schedule: &str, body: Value) {
    liquid.save_schedule(&name(schedule), &spec(body), &ada(), Expected::default()).unwrap();
}

fn tick(liquid: &Liquid, clock: &ManualClock, at: &str) -> usize {
    clock.set(Time::parse(at).unwrap());
    liquid.tick(clock.now()).unwrap()
}

/// The slots that have runs, oldest run first, once all runs are over, whoever runs them.
fn slots(liquid: &Liquid) -> Vec<String> {
    let mut runs = liquid.runs(&RunFilter::default(), None, 10_000).unwrap();
    runs.reverse();
    let slot = |run: &Run| {
        over(liquid, &run.id);
        // Its turn ends a moment after its last state is written.
        liquid.wait(&run.id, LONG).unwrap();
        run.scheduled_at.unwrap().to_string()
    };
    runs.iter().map(slot).collect()
}

fn short(times: &[&str]) -> Vec<String> {
    times.iter().map(|time| Time::parse(time).unwrap().to_string()).collect()
}

#[test]
fn a_schedule_fires_at_its_times_and_gives_the_run_its_slot() {
    let clock = clock_at("2026-03-01T10:30:00Z");
    let liquid = open_over(&memory(), clock.clone());
    save(&liquid, "echo", ECHO);
    put(&liquid, "hourly", json!({"pipeline": "echo", "cron": "0 * * * *"}));
    assert_eq!(liquid.next_wake(), Some(Time::parse("2026-03-01T11:00:00Z").unwrap()));
    assert_eq!(tick(&liquid, &clock, "2026-03-01T10:59:59Z"), 0);
    assert_eq!(tick(&liquid, &clock, "2026-03-01T11:00:00Z"), 1);
    assert_eq!(tick(&liquid, &clock, "2026-03-01T11:00:01Z"), 0);
    let run = liquid.runs(&RunFilter::default(), None, 1).unwrap().remove(0);
    let run = liquid.wait(&run.id, LONG).unwrap();
    assert_eq!(run.cause, "schedule:hourly");
    assert_eq!(run.started_by, "ada");
    assert_eq!(run.outputs["at"], json!("2026-03-01T11:00:00.000000Z"));
}

#[test]
fn in_paris_a_fixed_time_fires_once_a_day_across_both_clock_changes() {
    let clock = clock_at("2026-03-28T12:00:00Z");
    let liquid = open_over(&memory(), clock.clone());
    save(&liquid, "echo", ECHO);
    let daily = json!({"pipeline": "echo", "cron": "30 2 * * *", "timezone": "Europe/Paris"});
    put(&liquid, "daily", daily.clone());
    let mut made = 0;
    for half_hour in 0..96 {
        let at = Time::parse("2026-03-28T12:00:00Z").unwrap();
        clock.set(at.after(Duration::from_mins(30 * half_hour)));
        made += liquid.tick(clock.now()).unwrap();
        // A run that is not over would leave the next firing out.
        slots(&liquid);
    }
    assert_eq!(made, 2);
    // 02:30 was skipped that night: it ran when the clocks stood at 03:00.
    assert_eq!(slots(&liquid), short(&["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]));

    let autumn = clock_at("2026-10-24T12:00:00Z");
    let liquid = open_over(&memory(), autumn.clone());
    save(&liquid, "echo", ECHO);
    put(&liquid, "daily", daily);
    put(
        &liquid,
        "hourly",
        json!({"pipeline": "echo", "cron": "0 * * * *", "timezone": "Europe/Paris"}),
    );
    for half_hour in 0..96 {
        let at = Time::parse("2026-10-24T12:00:00Z").unwrap();
        autumn.set(at.after(Duration::from_mins(30 * half_hour)));
        liquid.tick(autumn.now()).unwrap();
        slots(&liquid);
    }
    let runs = liquid.runs(&RunFilter::default(), None, 1000).unwrap();
    let of = |cause: &str| runs.iter().filter(|run| run.cause == cause).count();
    assert_eq!(of("schedule:daily"), 2, "the hour came twice, the firing once");
    assert_eq!(of("schedule:hourly"), 47, "every real hour");
}

#[test]
fn the_next_firings_are_shown_across_a_clock_change() {
    let liquid = open_over(&memory(), clock_at("2026-10-24T23:30:00Z"));
    save(&liquid, "echo", ECHO);
    put(
        &liquid,
        "hourly",
        json!({"pipeline": "echo", "cron": "0 * * * *", "timezone": "Europe/Paris"}),
    );
    let next = liquid.next_firings(&name("hourly"), None, 3).unwrap();
    assert_eq!(
        serde_json::to_value(&next).unwrap(),
        json!([
            {"at": "2026-10-25T00:00:00.000000Z", "local": "2026-10-25T02:00:00+02:00"},
            {"at": "2026-10-25T01:00:00.000000Z", "local": "2026-10-25T02:00:00+01:00"},
            {"at": "2026-10-25T02:00:00.000000Z", "local": "2026-10-25T03:00:00+01:00"},
        ])
    );
}

/// A daemon that was away from 10:30 to 14:10, and one that opens then.
fn away(catchup: Value) -> (Liquid, Arc<ManualClock>) {
    let records = memory();
    let clock = clock_at("2026-03-01T10:30:00Z");
    let first = open_over(&records, clock.clone());
    save(&first, "echo", ECHO);
    let mut body = json!({"pipeline": "echo", "cron": "0 * * * *"});
    body.as_object_mut().unwrap().extend(catchup.as_object().unwrap().clone());
    put(&first, "hourly", body);
    first.close(LONG);
    clock.set(Time::parse("2026-03-01T14:10:00Z").unwrap());
    (open_over(&records, clock.clone()), clock)
}

#[test]
fn missed_firings_are_made_up_as_the_schedule_says() {
    for (catchup, made) in [
        (json!({"catchup": "none"}), vec![]),
        (json!({"catchup": "last"}), vec!["2026-03-01T14:00:00Z"]),
        (
            json!({"catchup": "all"}),
            vec![
                "2026-03-01T11:00:00Z",
                "2026-03-01T12:00:00Z",
                "2026-03-01T13:00:00Z",
                "2026-03-01T14:00:00Z",
            ],
        ),
        (
            json!({"catchup": "all", "catchup_max": 2}),
            vec!["2026-03-01T13:00:00Z", "2026-03-01T14:00:00Z"],
        ),
        (
            json!({"catchup": "all", "catchup_window": "90m"}),
            vec!["2026-03-01T13:00:00Z", "2026-03-01T14:00:00Z"],
        ),
    ] {
        let (liquid, clock) = away(catchup.clone());
        assert_eq!(tick(&liquid, &clock, "2026-03-01T14:10:01Z"), made.len(), "{catchup}");
        assert_eq!(slots(&liquid), short(&made), "{catchup}");
        assert_eq!(tick(&liquid, &clock, "2026-03-01T14:10:02Z"), 0, "{catchup}");
        assert_eq!(tick(&liquid, &clock, "2026-03-01T15:00:00Z"), 1, "{catchup}");
    }
}

#[test]
fn a_slot_has_one_run_whoever_opens_and_whatever_the_clock_does() {
    let records = memory();
    let clock = clock_at("2026-03-01T10:30:00Z");
    let liquid = open_over(&records, clock.clone());
    save(&liquid, "echo", ECHO);
    let body =
        json!({"pipeline": "echo", "cron": "0 * * * *", "catchup": "all", "catchup_window": "10d"});
    put(&liquid, "hourly", body);
    assert_eq!(tick(&liquid, &clock, "2026-03-01T11:00:05Z"), 1);
    slots(&liquid);
    // Opened again, and a second daemon beside it: both look at the same time.
    let again = open_over(&records, clock.clone());
    assert_eq!(again.tick(clock.now()).unwrap() + liquid.tick(clock.now()).unwrap(), 0);
    assert_eq!(again.tick(Time::parse("2026-03-01T12:00:00Z").unwrap()).unwrap(), 1);
    assert_eq!(tick(&liquid, &clock, "2026-03-01T12:00:00Z"), 0);
    slots(&liquid);
    // The clock goes back three days: nothing that ran runs again, and new times fire.
    assert_eq!(tick(&liquid, &clock, "2026-02-26T11:30:00Z"), 0);
    assert_eq!(tick(&liquid, &clock, "2026-02-26T12:00:00Z"), 1);
    // And forward again: what lies between is made up, what ran is not.
    slots(&liquid);
    let made = tick(&liquid, &clock, "2026-03-01T12:30:00Z");
    assert_eq!(made, 3 * 24 - 2);
    let all = slots(&liquid);
    let distinct: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!((all.len(), distinct.len()), (73, 73));
}

#[test]
fn a_firing_meets_an_earlier_run_as_the_schedule_says() {
    for (overlap, states) in [
        (json!("skip"), vec![RunState::Running]),
        (json!("queue"), vec![RunState::Running, RunState::Queued, RunState::Queued]),
        (json!("cancel"), vec![RunState::Cancelled, RunState::Cancelled, RunState::Running]),
        (json!({"allow": 2}), vec![RunState::Running, RunState::Running]),
    ] {
        let clock = clock_at("2026-03-01T10:30:00Z");
        let liquid = open_over(&memory(), clock.clone());
        save(&liquid, "endless", ENDLESS);
        put(&liquid, "s", json!({"pipeline": "endless", "cron": "* * * * *", "overlap": overlap}));
        for minute in ["31", "32", "33"] {
            tick(&liquid, &clock, &format!("2026-03-01T10:{minute}:00Z"));
            let newest = liquid.runs(&RunFilter::default(), None, 1).unwrap().remove(0);
            if overlap != json!("queue") || minute == "31" {
                begun(&liquid, &newest.id);
            }
        }
        let mut runs = liquid.runs(&RunFilter::default(), None, 10).unwrap();
        runs.reverse();
        let found: Vec<_> = runs
            .iter()
            .zip(&states)
            .map(|(run, wanted)| {
                if wanted.is_over() { liquid.wait(&run.id, LONG).unwrap().state } else { run.state }
            })
            .collect();
        assert_eq!((found, runs.len()), (states.clone(), states.len()), "{overlap}");
        assert!(liquid.close(LONG));
    }
}

#[test]
fn backfill_runs_past_firings_that_have_no_run() {
    let clock = clock_at("2026-03-01T10:30:00Z");
    let liquid = open_over(&memory(), clock.clone());
    save(&liquid, "echo", ECHO);
    put(&liquid, "hourly", json!({"pipeline": "echo", "cron": "0 * * * *"}));
    tick(&liquid, &clock, "2026-03-01T11:00:00Z");
    clock.set(Time::parse("2026-03-01T12:30:00Z").unwrap());
    let at = |text: &str| Time::parse(text).unwrap();
    let (from, to) = (at("2026-03-01T09:00:00Z"), at("2026-03-01T12:00:00Z"));
    let backfill = || liquid.backfill(&name("hourly"), from, to, &ada()).unwrap();
    let (runs, already) = backfill();
    assert_eq!((runs.len(), already), (2, 1));
    assert_eq!(runs[0].cause, "backfill:hourly");
    assert_eq!(backfill().1, 3, "a second time there is nothing to do");
    let mut all = slots(&liquid);
    all.sort();
    assert_eq!(
        all,
        short(&["2026-03-01T09:00:00Z", "2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z"])
    );
    let future = liquid.backfill(&name("hourly"), from, at("2027-01-01"), &ada()).unwrap_err();
    assert_eq!(future.kind().status(), 422);
}

#[test]
fn a_pause_is_not_made_up_and_a_deleted_schedule_is_silent() {
    let clock = clock_at("2026-03-01T10:30:00Z");
    let liquid = open_over(&memory(), clock.clone());
    save(&liquid, "echo", ECHO);
    let body = |enabled: bool| json!({"pipeline": "echo", "cron": "0 * * * *", "catchup": "all", "enabled": enabled});
    put(&liquid, "hourly", body(false));
    assert_eq!(liquid.next_wake(), None);
    assert_eq!(tick(&liquid, &clock, "2026-03-01T12:00:00Z"), 0);
    put(&liquid, "hourly", body(true));
    assert_eq!(tick(&liquid, &clock, "2026-03-01T12:30:00Z"), 0);
    assert_eq!(tick(&liquid, &clock, "2026-03-01T13:00:00Z"), 1);
    liquid.delete_schedule(&name("hourly"), &ada()).unwrap();
    assert_eq!(tick(&liquid, &clock, "2026-03-01T14:00:00Z"), 0);
    assert_eq!(liquid.schedule(&name("hourly")).unwrap_err().code(), "schedule_not_found");
}

#[test]
fn a_firing_whose_pipeline_is_gone_is_a_failed_run() {
    let clock = clock_at("2026-03-01T10:30:00Z");
    let liquid = open_over(&memory(), clock.clone());
    save(&liquid, "echo", ECHO);
    put(&liquid, "hourly", json!({"pipeline": "echo", "cron": "0 * * * *"}));
    liquid.delete_pipeline(&name("echo"), &ada()).unwrap();
    assert_eq!(tick(&liquid, &clock, "2026-03-01T11:00:00Z"), 1);
    let run = liquid.runs(&RunFilter::default(), None, 1).unwrap().remove(0);
    assert_eq!(run.state, RunState::Failed);
    assert!(run.error.unwrap().contains("`echo` does not exist"));
}

#[test]
fn jitter_puts_a_firing_off_and_keeps_its_slot() {
    let clock = clock_at("2026-03-01T10:30:00Z");
    let liquid = open_over(&memory(), clock.clone());
    save(&liquid, "echo", ECHO);
    put(&liquid, "j", json!({"pipeline": "echo", "cron": "0 * * * *", "jitter": "20s"}));
    let due = liquid.next_wake().unwrap();
    let slot = Time::parse("2026-03-01T11:00:00Z").unwrap();
    assert!(due >= slot && due < slot.after(Duration::from_secs(20)));
    assert_eq!(liquid.tick(Time(due.0 - 1)).unwrap(), 0);
    clock.set(due);
    assert_eq!(liquid.tick(due).unwrap(), 1);
    assert_eq!(slots(&liquid), short(&["2026-03-01T11:00:00Z"]));
}

#[test]
fn a_schedule_that_cannot_run_is_refused_when_it_is_saved() {
    let liquid = open();
    save(&liquid, "readme", README);
    let put = |body: Value| {
        liquid.save_schedule(&name("s"), &spec(body), &ada(), Expected::default()).unwrap_err()
    };
    let gone = put(json!({"pipeline": "nobody", "cron": "@daily"}));
    assert_eq!((gone.kind().status(), gone.faults()[0].pointer.as_str()), (422, "/pipeline"));
    assert_eq!(put(json!({"pipeline": "readme", "cron": "@daily"})).code(), "missing_inputs");
    let never = json!({"pipeline": "readme", "cron": "0 0 31 2 *"});
    assert!(ScheduleSpec::read(never.as_object().unwrap()).is_err());
    assert_eq!(spec(json!({"pipeline": "p", "cron": "@daily"})).overlap, Overlap::Skip);
}
