//! A group of sets as one transaction. It moves the document of the numbers, reads the revisions of
//! the rows, decides (see `plan`), writes the rows, the numbers and the writer's mark, and commits
//! with `w: majority, j: true`.
//!
//! Every group moves that one document first: of two daemons that commit at once, one meets the
//! other's write and begins anew. So groups stand in one line, whoever wrote them, and numbers have
//! no gaps.
//!
//! What becomes of a commit that got no clear answer is found out in `fate`.

use std::future::IntoFuture as _;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::options::{ReadConcern, TransactionOptions, WriteConcern};
use tokio::runtime::Handle;

use super::error::{Trouble, is_away};
use super::fate::Others;
use super::plan::{Numbers, Plan, Revisions};
use super::rows;
use super::server::{CALL, Server};
use crate::kernel::error::{Error, Kind, Result};
use crate::kernel::name::new_id;
use crate::kernel::records::{ChangeSet, Receipt};

/// The document with the last number of every log.
pub(super) const NUMBERS: &str = "numbers";
/// How long a group is tried again when others were faster.
const TRYING: Duration = Duration::from_secs(8);
/// The shortest and the longest pause between two tries; and after a commit, where others write, too:
/// whoever comes back at once would leave them no room.
const PAUSE: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(20);
/// How long others are thought of after they wrote.
const COMPANY: Duration = Duration::from_secs(5);
/// How long a writer that ends tries to take its mark along.
const FAREWELL: Duration = Duration::from_secs(1);

/// Writes groups, one at a time.
pub(super) struct Writer {
    pub(super) server: Arc<Server>,
    pub(super) session: ClientSession,
    /// Which document of `commits` is this writer's.
    pub(super) id: String,
    /// The number of its newest group.
    pub(super) group: i64,
    /// How many groups were committed, by all writers, before the one that is being written.
    before: i64,
    /// How many there were after this one's newest; 0 before its first.
    after: i64,
    /// When it last saw that others write, too.
    company: Option<Instant>,
    runtime: Handle,
}

/// Why a group was not written, or may not have been.
enum Failure {
    /// Nothing of it was written.
    Before(Trouble),
    /// The commit was sent, and what became of it is not known.
    Unknown(Trouble, Vec<Result<Receipt>>),
}

impl Writer {
    /// A writer with a mark of its own.
    pub(super) async fn new(server: Arc<Server>) -> Result<Self, Trouble> {
        server.sweep_marks().await?;
        let session = server.call(server.client.start_session()).await?;
        let id = format!("writer/{}", new_id());
        // Others end this writer's transaction by its session, should it die in the middle of one.
        let session_id = session.id().get("id").cloned().unwrap_or(Bson::Null);
        let mark = doc! { "_id": &id, "group": 0_i64, "session": session_id, "at": server.opened };
        server.call(server.commits.insert_one(mark)).await?;
        let runtime = Handle::current();
        Ok(Self { server, session, id, group: 0, before: 0, after: 0, company: None, runtime })
    }

    /// Writes a group and answers for each of its sets.
    pub(super) async fn write(&mut self, sets: &[ChangeSet]) -> Vec<Result<Receipt>> {
        let begun = Instant::now();
        let mut pause = PAUSE;
        let mut others = Others::default();
        if self.company.is_some_and(|seen| seen.elapsed() < COMPANY) {
            tokio::time::sleep(PAUSE).await;
        }
        loop {
            let trouble = match self.try_once(sets).await {
                Ok(answers) => return answers,
                Err(Failure::Before(trouble)) if trouble.is_passing() => trouble,
                Err(Failure::Before(trouble)) => return self.refuse(sets, trouble),
                Err(Failure::Unknown(trouble, answers)) => match self.took_effect().await {
                    Some(true) => return answers,
                    Some(false) => trouble,
                    None => return sets.iter().map(|_| Err(self.not_known())).collect(),
                },
            };
            if begun.elapsed() > TRYING || self.server.health().is_err() {
                return self.refuse(sets, trouble);
            }
            if others.are_stuck(&self.server, begun).await {
                self.shut_others_out().await;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// One transaction.
    async fn try_once(&mut self, sets: &[ChangeSet]) -> Result<Vec<Result<Receipt>>, Failure> {
        self.server.health().map_err(|away| Failure::Before(Trouble::Damaged(away)))?;
        self.group += 1;
        self.begin().await.map_err(Failure::Before)?;
        match self.fill(sets).await {
            Ok((answers, true)) => match self.commit().await {
                Ok(()) => {
                    self.after = self.before + 1;
                    Ok(answers)
                }
                Err(trouble) => Err(Failure::Unknown(trouble, answers)),
            },
            Ok((answers, false)) => {
                self.abort().await;
                Ok(answers)
            }
            Err(trouble) => {
                self.abort().await;
                Err(Failure::Before(trouble))
            }
        }
    }

    pub(super) async fn begin(&mut self) -> Result<(), Trouble> {
        let mut durable = WriteConcern::majority();
        durable.journal = Some(true);
        let options = TransactionOptions::builder()
            .read_concern(ReadConcern::snapshot())
            .write_concern(durable)
            .max_commit_time(CALL)
            .build();
        self.server.call(self.session.start_transaction().with_options(options)).await
    }

    pub(super) async fn commit(&mut self) -> Result<(), Trouble> {
        self.server.call(self.session.commit_transaction()).await
    }

    /// Gives a transaction up; where that is not heard, the next one of this session ends it.
    pub(super) async fn abort(&mut self) {
        let _not_heard = self.server.call(self.session.abort_transaction()).await;
    }

    /// Decides and writes; answers for the sets, and whether there is something to commit.
    async fn fill(&mut self, sets: &[ChangeSet]) -> Result<(Vec<Result<Receipt>>, bool), Trouble> {
        let numbers = self.numbers().await?;
        let read = self.revisions(sets).await?;
        let plan = Plan::of(sets, &read, numbers);
        let writes = plan.writes();
        if writes.is_empty() {
            return Ok((plan.into_answers(), false));
        }
        for rows::Command { command, count } in rows::commands(self.server.rows.name(), writes) {
            self.run(command, count).await?;
        }
        let moves = self.moves(plan.numbers())?;
        self.run(moves, 2).await?;
        Ok((plan.into_answers(), true))
    }

    async fn revisions(&mut self, sets: &[ChangeSet]) -> Result<Revisions, Trouble> {
        let mut found = Revisions::new();
        for filter in rows::wanted(sets) {
            let find = self.server.rows.find(filter).projection(doc! { "revision": 1 });
            let mut cursor = self.server.call(find.session(&mut self.session)).await?;
            while self.server.call(cursor.advance(&mut self.session)).await? {
                let row = cursor.current();
                let key = row.get_str("_id").map_err(damaged)?.to_owned();
                found.insert(key, rows::revision(row)?);
            }
        }
        Ok(found)
    }

    /// Moves the document of the numbers, which is what all writers meet at, and reads it.
    async fn numbers(&mut self) -> Result<Numbers, Trouble> {
        let moved = doc! { "$inc": { "commits": 1_i64 } };
        let update = self.server.commits.find_one_and_update(doc! { "_id": NUMBERS }, moved);
        let document = self.server.call(update.session(&mut self.session)).await?;
        let document = document.ok_or_else(|| damaged("the document of the numbers is gone"))?;
        let commits = document.get_i64("commits").map_err(damaged)?;
        if self.after > 0 && commits != self.after {
            self.company = Some(Instant::now());
        }
        self.before = commits;
        let logs = document.get_document("logs").map_err(damaged)?;
        let number = |(log, number): (&String, &Bson)| {
            let number = number.as_i64().and_then(|number| u64::try_from(number).ok());
            Some((log.clone(), number?))
        };
        let numbers: Option<Numbers> = logs.iter().map(number).collect();
        Ok(numbers.ok_or_else(|| damaged("a log's number is none"))?)
    }

    /// The command that writes the numbers and the writer's mark, the last before the commit.
    fn moves(&self, numbers: &Numbers) -> Result<RawDocumentBuf, Trouble> {
        let number = |(log, number): (&String, &u64)| {
            (log.clone(), Bson::Int64(i64::try_from(*number).unwrap_or(i64::MAX)))
        };
        let logs: Document = numbers.iter().map(number).collect();
        let mark = doc! { "$set": { "group": self.group }, "$currentDate": { "at": true } };
        let command = doc! {
            "update": self.server.commits.name(),
            "updates": [
                { "q": { "_id": NUMBERS }, "u": { "$set": { "logs": logs } } },
                { "q": { "_id": &self.id }, "u": mark, "upsert": true },
            ],
        };
        RawDocumentBuf::try_from(&command).map_err(|error| damaged(error).into())
    }

    /// Runs a write within the transaction; `count` documents must be written by it.
    async fn run(&mut self, command: RawDocumentBuf, count: i64) -> Result<(), Trouble> {
        let run = self.server.database.run_raw_command(command).session(&mut self.session);
        let answer = self.server.call(run).await?;
        if let Some(Bson::Document(error)) =
            answer.get_array("writeErrors").ok().and_then(|e| e.first())
        {
            return Err(Trouble::Write {
                code: error.get_i32("code").unwrap_or(0),
                message: error.get_str("errmsg").unwrap_or("").to_owned(),
            });
        }
        let written = answer.get_i32("n").map(i64::from).or_else(|_wide| answer.get_i64("n"));
        let written = written.map_err(damaged)?;
        if written != count {
            return Err(
                damaged(format!("{written} documents were written instead of {count}")).into()
            );
        }
        Ok(())
    }

    fn refuse(&self, sets: &[ChangeSet], trouble: Trouble) -> Vec<Result<Receipt>> {
        let place = &self.server.place;
        let is_busy = trouble.is_conflict();
        let told = trouble.tell(place);
        let why = if is_busy {
            format!("nothing was written: others write to {place} without a break")
        } else {
            format!("nothing was written: {}", told.detail())
        };
        let error = || match told.kind() {
            Kind::Unavailable => is_away(why.clone()),
            kind => Error::new(kind, told.code(), why.clone()),
        };
        sets.iter().map(|_| Err(error())).collect()
    }

    fn not_known(&self) -> Error {
        let place = &self.server.place;
        Error::new(
            Kind::Unavailable,
            "outcome_unknown",
            format!(
                "{place} did not say whether the change was written: look before doing it again, or \
                 repeat it with the same Idempotency-Key"
            ),
        )
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // A mark tells its writer alone what became of its groups: without one it is litter.
        if self.server.health().is_ok() {
            let (commits, mark) = (self.server.commits.clone(), doc! { "_id": &self.id });
            let (tell, told) = sync_channel(1);
            self.runtime.spawn(async move {
                let _left_there =
                    tokio::time::timeout(FAREWELL, commits.delete_one(mark).into_future()).await;
                let _gone = tell.send(());
            });
            let _late = told.recv_timeout(FAREWELL);
        }
    }
}

fn damaged(why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Internal, "damaged_record", format!("the record store: {why}"))
}
