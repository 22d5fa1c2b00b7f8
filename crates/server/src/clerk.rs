//! Threads that wait for the disk and for slow hashes, so that the driver does not.
//!
//! What must be written is tried again until it is: a dump is owed, a found block is kept.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hstratum_core::block::Solution;
use hstratum_core::event::{Level, NewUser, Password, Ticket};
use hstratum_core::password::StoredPassword;
use hstratum_core::summary::Dump;
use hstratum_core::template::RawTransactions;
use hstratum_core::units::Hash;

use crate::config::TlsFiles;
use crate::dump::write_dump;
use crate::limits::DISK_RETRY_MS;
use crate::mail::{Post, WorkMail};
use crate::node::Node;
use crate::password;
use crate::spool::Spool;
use crate::tls;
use crate::users::UsersFile;

/// Is this the password?
pub(crate) struct PasswordMail(pub Ticket, pub StoredPassword, pub String);

/// Write this user.
pub(crate) struct UsersMail(pub Ticket, pub NewUser);

/// Changes of the spool.
pub(crate) enum SpoolMail {
    Put(Arc<Solution>, Arc<RawTransactions>),
    Remove(Hash),
}

/// Reads the certificate each time it is asked to, and hands it to the driver.
pub(crate) fn run_certificates(
    files: &TlsFiles,
    mail: &Receiver<()>,
    post: &Post,
    node: &dyn Node,
) {
    for () in mail {
        match tls::load(&files.cert, &files.key) {
            Ok(certificate) => {
                if post.work(WorkMail::Certificate(certificate)).is_err() {
                    return;
                }
            }
            Err(error) => node.log(
                Level::Error,
                &format!("{error:#}; the old certificate stays"),
            ),
        }
    }
}

/// Checks passwords. Several threads do, each taking the next question when it is free. What
/// nobody waits for at the end is left undone: it can take long.
pub(crate) fn run_passwords(mail: &Mutex<Receiver<PasswordMail>>, post: &Post) {
    loop {
        let next = mail.lock().expect("nothing panics while it is held").recv();
        let Ok(PasswordMail(ticket, stored, password)) = next else {
            return;
        };
        let checked = if password::verify(&stored, &password) {
            Password::Right
        } else {
            Password::Wrong
        };
        if post
            .work(WorkMail::PasswordChecked(ticket, checked))
            .is_err()
        {
            return;
        }
    }
}

/// Writes users, one after the other. Without a file they last as long as the process. What nobody
/// waits for at the end is left undone: no user is known to be added before the answer.
pub(crate) fn run_users(
    mut file: Option<UsersFile>,
    mail: &Receiver<UsersMail>,
    post: &Post,
    node: &dyn Node,
) {
    for UsersMail(ticket, user) in mail {
        let added = add_user(file.as_mut(), &user);
        if let Err(error) = &added {
            node.log(Level::Error, &format!("{error:#}"));
        }
        let answer = WorkMail::UserAdded(ticket, user.name, added.ok());
        if post.work(answer).is_err() {
            return;
        }
    }
}

fn add_user(file: Option<&mut UsersFile>, user: &NewUser) -> anyhow::Result<StoredPassword> {
    let stored = password::hash(&user.password)?;
    if let Some(file) = file {
        file.append(&user.name, &stored)?;
    }
    Ok(stored)
}

/// Writes dumps. One that cannot be written is owed and tried again; those behind it do not wait.
/// Ends when nobody can send more and each was tried a last time.
pub(crate) fn run_dumps(dir: &Path, mail: &Receiver<Dump>, node: &dyn Node) {
    let mut owed: VecDeque<Dump> = VecDeque::new();
    let mut last_error = None;
    loop {
        let received = if owed.is_empty() {
            mail.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            mail.recv_timeout(Duration::from_millis(DISK_RETRY_MS))
        };
        let is_last = matches!(received, Err(RecvTimeoutError::Disconnected));
        owed.extend(received);
        owed.retain(|dump| match write_dump(dir, dump) {
            Ok(()) => {
                let name = dump.file_name();
                node.log(Level::Info, &format!("share dump written: {name}"));
                last_error = None;
                false
            }
            Err(error) => {
                report(
                    &mut last_error,
                    node,
                    &format!("failed to write the share dump {}", dump.file_name()),
                    &error,
                );
                true
            }
        });
        if is_last {
            for dump in &owed {
                let name = dump.file_name();
                node.log(
                    Level::Error,
                    &format!("the share dump {name} is lost: {}", dump.to_json()),
                );
            }
            return;
        }
    }
}

/// Keeps found blocks until the node has answered. What the disk refuses is tried again,
/// a last time when nobody can send more.
pub(crate) fn run_spool(spool: &Spool, mail: &Receiver<SpoolMail>, node: &dyn Node) {
    let mut owed: VecDeque<(Hash, Vec<u8>)> = VecDeque::new();
    let mut last_error = None;
    loop {
        let received = if owed.is_empty() {
            mail.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            mail.recv_timeout(Duration::from_millis(DISK_RETRY_MS))
        };
        let is_last = matches!(received, Err(RecvTimeoutError::Disconnected));
        match received {
            Ok(SpoolMail::Put(solution, transactions)) => {
                owed.push_back((solution.hash, solution.encode(&transactions)));
            }
            Ok(SpoolMail::Remove(hash)) => {
                owed.retain(|(owed, _)| *owed != hash);
                if let Err(error) = spool.remove(&hash) {
                    node.log(Level::Error, &format!("{error:#}"));
                }
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        owed.retain(|(hash, raw)| match spool.put(hash, raw) {
            Ok(()) => {
                last_error = None;
                false
            }
            Err(error) => {
                report(
                    &mut last_error,
                    node,
                    &format!("failed to keep block {hash} in the spool"),
                    &error,
                );
                true
            }
        });
        if is_last {
            for (hash, _) in &owed {
                let text = format!("block {hash} is not in the spool: no later start offers it");
                node.log(Level::Error, &text);
            }
            return;
        }
    }
}

/// Logs an error once, until it changes.
fn report(last: &mut Option<String>, node: &dyn Node, what: &str, error: &anyhow::Error) {
    let text = format!("{what}: {error:#}; it is tried again until it can be");
    if last.as_ref() != Some(&text) {
        node.log(Level::Error, &text);
        *last = Some(text);
    }
}
