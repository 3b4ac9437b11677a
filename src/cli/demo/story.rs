//! How the demo tells what it did: numbered steps with their times for people, one JSON object for
//! machines.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kernel::cli::Output;
use crate::kernel::error::Result;

/// The story so far.
pub(super) struct Story {
    out: Output,
    folder: String,
    /// Whether nothing serves after the story.
    pub(super) once: bool,
    steps: Vec<Value>,
    begun: Instant,
    step_begun: Instant,
}

impl Story {
    pub(super) fn new(out: Output) -> Self {
        let now = Instant::now();
        Self {
            out,
            folder: String::new(),
            once: false,
            steps: Vec::new(),
            begun: now,
            step_begun: now,
        }
    }

    pub(super) fn title(&mut self, folder: &str, url: &str) -> Result<()> {
        folder.clone_into(&mut self.folder);
        self.line(&self.out.bold("One algorithm's whole life, on four wind turbines"))?;
        self.line(&format!("  data folder {folder}, daemon at {url}"))
    }

    /// A sentence outside the steps.
    pub(super) fn say(&mut self, sentence: &str) -> Result<()> {
        self.line(&format!("  {sentence}"))
    }

    /// The password, on a line of its own, also where machines read.
    pub(super) fn password(&mut self, name: &str, password: &str) -> Result<()> {
        self.line(&format!("  made the account `{name}`; its password is shown this once:"))?;
        self.out.line(&format!("password: {password}"))
    }

    /// Ends a step: what was done, the figures behind it, and how long it took.
    pub(super) fn step(
        &mut self,
        sentence: &str,
        details: &[String],
        figures: Value,
    ) -> Result<()> {
        let took = self.step_begun.elapsed();
        self.step_begun = Instant::now();
        let number = self.steps.len() + 1;
        let time = self.out.paint("2", &show(took));
        self.line(&format!("{} {sentence}  {time}", self.out.bold(&format!("{number:>2}"))))?;
        for detail in details {
            self.line(&format!("     {detail}"))?;
        }
        self.steps
            .push(json!({"step": sentence, "seconds": took.as_secs_f64(), "figures": figures}));
        Ok(())
    }

    /// The end: what to try next.
    pub(super) fn end(&mut self, url: &str) -> Result<()> {
        let took = self.begun.elapsed();
        if self.out.is_json() {
            let told = json!({"url": url, "seconds": took.as_secs_f64(), "steps": self.steps});
            return self.out.line(&told.to_string());
        }
        self.line(&format!("\nDone in {}. What to try next:", show(took)))?;
        if self.once {
            self.line(&format!("  dripctl serve --data {}", self.folder))?;
        }
        for command in [
            "dripctl login --username admin",
            "dripctl fiche search 风电",
            "dripctl liquid runs",
            "dripctl trajectory query --stream pipeline",
            "dripctl dashare usage grid-desk",
        ] {
            self.line(&format!("  {command}"))?;
        }
        if self.once {
            return Ok(());
        }
        self.line(&format!("and open {url} in a browser."))
    }

    /// Before serving on.
    pub(super) fn farewell(&self, url: &str) -> Result<()> {
        self.line(&format!("Serving on {url} until stopped (Ctrl-C)."))
    }

    fn line(&self, text: &str) -> Result<()> {
        if self.out.is_json() { Ok(()) } else { self.out.line(text) }
    }
}

/// A duration for people.
pub(super) fn show(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}
