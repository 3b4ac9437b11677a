//! `dripctl demo`: one algorithm's whole life, on real turbines, told as a short story.
//!
//! Everything goes over HTTP to the daemon that this command starts, the way a user would. What is
//! there already is recognised and left as it is, so the demo can be run, killed and run again.

use std::path::{Path, PathBuf};

mod account;
mod data;
mod serving;
mod steps;
mod story;

use super::context::Context;
use super::serve::{self, Daemon};
use crate::kernel::client::Client;
use crate::kernel::error::{Error, Kind, Result};
use crate::kernel::work::Shutdown;
use data::Wind;
use story::Story;

#[derive(clap::Args)]
pub(super) struct Demo {
    /// The data folder
    #[arg(long, env = "DRIP_DATA")]
    data: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// End after the story instead of serving until stopped
    #[arg(long)]
    once: bool,
    /// Take the turbines' data from this folder instead of what is built in
    #[arg(long, value_name = "DIR")]
    wind: Option<PathBuf>,
    #[command(flatten)]
    months: Months,
}

/// What the model learns from, and what it is tested on: from inclusive, to exclusive.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Months {
    /// Learn from here
    #[arg(long, value_name = "DATE", default_value = "2014-01-01")]
    train_from: String,
    /// Learn up to here
    #[arg(long, value_name = "DATE", default_value = "2014-03-01")]
    train_to: String,
    /// Test from here
    #[arg(long, value_name = "DATE", default_value = "2014-03-01")]
    test_from: String,
    /// Test up to here
    #[arg(long, value_name = "DATE", default_value = "2014-04-01")]
    test_to: String,
}

impl Months {
    /// Names everything that is wrong with the dates: a model that is tested on what it learnt from
    /// flatters itself.
    fn check(&self) -> Result<()> {
        let dates = [
            ("train-from", &self.train_from),
            ("train-to", &self.train_to),
            ("test-from", &self.test_from),
            ("test-to", &self.test_to),
        ];
        let is_date = |text: &str| text.len() == 10 && text.parse::<chrono::NaiveDate>().is_ok();
        let mut faults: Vec<String> = dates
            .iter()
            .filter(|(_, text)| !is_date(text))
            .map(|(flag, text)| format!("--{flag} `{text}` is no date such as 2014-01-31"))
            .collect();
        if faults.is_empty() {
            // Dates of this shape are in order as texts are.
            for (first, second) in [(0, 1), (2, 3)] {
                if let (Some((from, a)), Some((to, b))) = (dates.get(first), dates.get(second))
                    && a >= b
                {
                    faults.push(format!("--{from} {a} is not before --{to} {b}"));
                }
            }
            if self.test_from < self.train_to && self.train_from < self.test_to {
                faults.push("the months to learn from and the months to test on overlap".into());
            }
        }
        if faults.is_empty() {
            return Ok(());
        }
        Err(Error::new(Kind::Usage, "bad_months", faults.join("; ")))
    }
}

pub(super) async fn run(demo: Demo, context: &Context) -> Result<()> {
    demo.months.check()?;
    let wind = Wind::load(demo.wind.as_deref())?;
    let settings = context.settings(serve::flags(demo.data.as_deref(), demo.listen))?;
    serve::start_log(&settings)?;
    let shutdown = Shutdown::new();
    serve::end_on_signal(shutdown.clone())?;

    let mut story = Story::new(context.out);
    story.once = demo.once;
    let daemon = Daemon::open(&settings, shutdown.clone()).await?;
    let url = format!("http://{}", daemon.address);
    story.title(&daemon.folder(), &url)?;
    account::ensure(&daemon.app, &mut story)?;
    let pass = account::Pass::take(&daemon.app.access)?;
    let client = Client::new(&url, Some(pass.token()))?;
    let serving = tokio::spawn(daemon.serve());

    let told = tokio::select! {
        told = tell(&client, &wind, &demo.months, &mut story) => told,
        () = shutdown.wait() => Err(stopped()),
    };
    // A token that is not needed any more is not left lying about.
    let ended = pass.give_back();
    if told.is_ok() && !demo.once {
        story.farewell(&url)?;
    } else {
        shutdown.begin();
    }
    let served =
        serving.await.map_err(|source| Error::internal(format!("the daemon: {source}")))?;
    told.and(ended).and(served)
}

async fn tell(client: &Client, wind: &Wind, months: &Months, story: &mut Story) -> Result<()> {
    steps::register_data(client, wind, story).await?;
    steps::push_package(client, story).await?;
    steps::register_operators(client, story).await?;
    let model = steps::run_pipeline(client, months, story).await?;
    steps::schedule(client, months, story).await?;
    serving::share(client, &model, story).await?;
    serving::compute(client, wind, &model, story).await?;
    serving::find(client, story).await?;
    story.end(client.url())
}

fn stopped() -> Error {
    Error::new(Kind::Conflict, "stopped", "the demo was stopped; run it again to go on")
}

/// Whether the folder of the wind data is one.
fn is_wind_folder(path: &Path) -> bool {
    path.join("scada-2014q1.csv").is_file()
}
