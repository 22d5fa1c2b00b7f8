//! Checks of the shares on their way to a shared ledger: no batch is missing or altered.

use super::Check;
use crate::sql::SqlError;
use crate::store::outbox::digest;
use crate::values;

/// Rows of batches read at a time.
const BATCHES: i64 = 100;

/// The batches kept in a file follow each other, up to the last of their origin.
pub(super) fn batches_are_a_chain(check: &mut Check<'_>) -> anyhow::Result<()> {
    if !check.is_file {
        return Ok(());
    }
    let origins = check.sql.query(
        "SELECT id, sequence, shipped, digest FROM outbox_origins ORDER BY id",
        &[],
    )?;
    for row in origins {
        let (origin, last, shipped): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if shipped > last {
            check.find(format!(
                "batch {shipped} of origin {origin} was shipped, of which there are {last}"
            ));
        }
        let chain_end = follow(check, origin, shipped)?;
        let head: Vec<u8> = row.get(3)?;
        match chain_end {
            // All were shipped long ago.
            None if shipped >= last => {}
            None => check.find(format!(
                "the batches {} to {last} of origin {origin} are gone and were not shipped",
                shipped + 1
            )),
            Some((end, _)) if end != last => check.find(format!(
                "the last batch of origin {origin} is {end}, and was {last}"
            )),
            Some((_, digest)) if digest != head => check.find(format!(
                "the last batch of origin {origin} is another than it was"
            )),
            Some(_) => {}
        }
    }
    Ok(())
}

/// Follows an origin's batches; returns the last one, and its digest.
fn follow(
    check: &mut Check<'_>,
    origin: i64,
    shipped: i64,
) -> anyhow::Result<Option<(i64, Vec<u8>)>> {
    let mut before: Option<(i64, Vec<u8>)> = None;
    loop {
        let after = before.as_ref().map_or(i64::MIN, |(sequence, _)| *sequence);
        let rows = check.sql.query(
            "SELECT sequence, life, digest, bytes, body, shipped_at
               FROM outbox LEFT JOIN outbox_bodies USING (id)
              WHERE origin = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3",
            &values![origin, after, BATCHES],
        )?;
        if rows.is_empty() {
            return Ok(before);
        }
        for row in rows {
            let sequence: i64 = row.get(0)?;
            let (run_id, own): (Vec<u8>, Vec<u8>) = (row.get(1)?, row.get(2)?);
            let body: Option<Vec<u8>> = row.get(4)?;
            let name = format!("batch {sequence} of origin {origin}");
            match &before {
                Some((previous, _)) if previous + 1 != sequence => {
                    check.find(format!(
                        "the batches before {name} are gone, from {}",
                        previous + 1
                    ));
                }
                // The first batch kept may be any that was shipped, or the next one.
                None if sequence > shipped + 1 => check.find(format!(
                    "the batches before {name} are gone, from {}, and were not shipped",
                    shipped + 1
                )),
                _ => {}
            }
            let start = match &before {
                Some((previous, digest)) if previous + 1 == sequence => Some(digest.clone()),
                None if sequence == 1 => Some(vec![0; 32]),
                _ => None,
            };
            match body {
                None => check.find(format!("{name} has no body")),
                Some(body) => {
                    if i64::try_from(body.len()).ok() != Some(row.get(3)?) {
                        check.find(format!("{name} has a body of another length"));
                    }
                    let expected = start.and_then(|start| {
                        Some(digest(
                            &start.try_into().ok()?,
                            &run_id.try_into().ok()?,
                            &body,
                        ))
                    });
                    if expected.is_some_and(|expected| expected[..] != own[..]) {
                        check.find(format!("{name} is another than its digest says"));
                    }
                }
            }
            if row.get::<Option<i64>>(5)?.is_none() && sequence <= shipped {
                check.find(format!("{name} was shipped and is not marked so"));
            }
            before = Some((sequence, own));
        }
    }
}

/// The batches of an origin in a shared ledger go up to its last one, without a gap.
pub(super) fn shipped_batches_are_all_there(check: &mut Check<'_>) -> anyhow::Result<()> {
    if check.is_file {
        return Ok(());
    }
    let rows = check.sql.query(
        "SELECT label, o.sequence, b.first, b.last, b.batches FROM origins AS o JOIN
           (SELECT origin, min(sequence) AS first, max(sequence) AS last, count(*) AS batches
              FROM batches GROUP BY origin) AS b ON b.origin = o.id
          WHERE b.last <> o.sequence OR b.last - b.first + 1 <> b.batches ORDER BY o.id",
        &[],
    )?;
    for row in rows {
        let (label, sequence): (String, i64) = (row.get(0)?, row.get(1)?);
        let (first, last, count): (i64, i64, i64) = (row.get(2)?, row.get(3)?, row.get(4)?);
        check.find(format!(
            "of server {label:?} {count} batches from {first} to {last} are known, and {sequence} \
             were counted"
        ));
    }
    Ok(())
}

/// Credit belongs to known servers, or is merged.
pub(super) fn credit_has_its_server(check: &mut Check<'_>) -> anyhow::Result<()> {
    let sql = match check.is_file {
        true => "SELECT DISTINCT origin FROM credit WHERE origin <> 0",
        false => {
            "SELECT DISTINCT origin FROM credit
              WHERE origin <> 0
                AND NOT EXISTS (SELECT 1 FROM origins WHERE origins.id = credit.origin)"
        }
    };
    let rows = check.sql.query(sql, &[])?;
    let origins = rows.iter().map(|row| row.get(0));
    for origin in origins.collect::<Result<Vec<i64>, SqlError>>()? {
        check.find(format!(
            "there is credit of server {origin}, which there is not"
        ));
    }
    Ok(())
}
