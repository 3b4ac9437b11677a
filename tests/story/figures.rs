#![cfg(test)]
//! The demo's figures are computed: they change with what they are computed from, and only then.

use std::path::Path;

use serde_json::Value;

use super::{demo, figures, inventory};
use crate::support::daemon::Home;

const TURBINES: [&str; 4] = ["R80711", "R80721", "R80736", "R80790"];

fn rmse(figures: &Value, part: &str, turbine: &str) -> f64 {
    let found = figures.pointer(&format!("/{part}/{turbine}/rmse_pct")).and_then(Value::as_f64);
    found.unwrap_or_else(|| panic!("no {part} for {turbine} in {figures}"))
}

#[test]
fn the_curves_are_as_good_as_they_must_be_and_change_with_the_months() {
    let told = figures(&demo(&Home::new(), &[]));
    for turbine in TURBINES {
        let measured = rmse(&told, "measured", turbine);
        assert!((1.4..=2.1).contains(&measured), "{turbine}: {measured} % on measured wind");
        let forecast = rmse(&told, "forecast", turbine);
        assert!((8.0..=12.0).contains(&forecast), "{turbine}: {forecast} % on reanalysis wind");
        for ahead in ["h3", "h6", "h12", "h24"] {
            let ours = rmse(&told, &format!("forecast_at/{ahead}"), turbine);
            let theirs = rmse(&told, &format!("persistence/{ahead}"), turbine);
            assert!(ours < theirs, "{turbine} {ahead}: {ours} against {theirs}");
        }
        assert!(measured < rmse(&told, "pooled", turbine), "{turbine} against the pooled curve");
    }
    let home = Home::new();
    let january = figures(&demo(&home, &["--train-to", "2014-02-01"]));
    for turbine in TURBINES {
        let (both, one) = (rmse(&told, "measured", turbine), rmse(&january, "measured", turbine));
        assert!((both - one).abs() > 1e-6, "{turbine}: {both} whatever the months");
    }
    // Months that were run before, with another model in between: what is told is what stands.
    assert_eq!(figures(&demo(&home, &[])), told);
    assert_eq!(figures(&demo(&home, &["--train-to", "2014-02-01"])), january);
    let model = &inventory(&home)["model:\"wind-power\"@\"1.0.0\""];
    assert_eq!(model["config"]["figures"], january);
}

#[test]
fn months_that_overlap_or_are_no_dates_are_refused() {
    for (arguments, why) in [
        (&["--train-to", "foo"][..], "--train-to `foo` is no date"),
        (&["--train-to", "2014-13-01"], "`2014-13-01` is no date"),
        (&["--test-from", "2014-02-01"], "overlap"),
        (
            &["--train-from", "2014-03-01"],
            "--train-from 2014-03-01 is not before --train-to 2014-03-01",
        ),
    ] {
        let home = Home::new();
        let output = home.run(&[&["demo", "--once", "--data", "data"], arguments].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(why), "{said}");
        assert_eq!(std::fs::read_dir(home.data()).unwrap().count(), 0, "nothing was made");
    }
}

#[test]
fn without_one_turbine_only_its_curve_and_the_pooled_one_change() {
    let gone = "R80790";
    let folder = tempfile::tempdir().unwrap();
    let wind = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/wind");
    for name in ["era5-2014.csv", "turbines.csv", "columns.csv"] {
        std::fs::copy(wind.join(name), folder.path().join(name)).unwrap();
    }
    let scada = std::fs::read_to_string(wind.join("scada-2014q1.csv")).unwrap();
    let fewer: String =
        scada.split_inclusive('\n').filter(|line| !line.starts_with(gone)).collect();
    std::fs::write(folder.path().join("scada-2014q1.csv"), fewer).unwrap();

    let all = figures(&demo(&Home::new(), &[]));
    let some = figures(&demo(&Home::new(), &["--wind", folder.path().to_str().unwrap()]));
    assert!(some["measured"].get(gone).is_none(), "{gone} is gone");
    for turbine in TURBINES.into_iter().filter(|turbine| *turbine != gone) {
        for part in ["measured", "forecast"] {
            assert_eq!(all[part][turbine], some[part][turbine], "{part} of {turbine}");
        }
        let (before, after) = (rmse(&all, "pooled", turbine), rmse(&some, "pooled", turbine));
        assert!((before - after).abs() > 1e-9, "the pooled curve of {turbine}");
    }
}
