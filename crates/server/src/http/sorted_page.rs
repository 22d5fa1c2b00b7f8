//! A page of a list that is sorted in memory.

use std::cmp::Ordering;

use super::answer::SortOrder;

/// A page (its limit and offset) of the rows in order. Equal rows are in the order of names, so that pages do not
/// overlap. Only what comes up to the page's end is sorted.
pub(super) fn sorted_page<T>(
    mut rows: Vec<T>,
    (limit, offset): (u32, u32),
    order: Option<SortOrder>,
    by: impl Fn(&T, &T) -> Ordering,
    names: impl Fn(&T, &T) -> Ordering,
) -> Vec<T> {
    let compare = |a: &T, b: &T| {
        let way = match order.unwrap_or_default() {
            SortOrder::Asc => by(a, b),
            SortOrder::Desc => by(b, a),
        };
        way.then_with(|| names(a, b))
    };
    let (limit, offset) = (limit as usize, offset as usize);
    let end = offset.saturating_add(limit);
    if end < rows.len() {
        rows.select_nth_unstable_by(end, compare);
        rows.truncate(end);
    }
    rows.sort_unstable_by(compare);
    rows.split_off(offset.min(rows.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_each_row_once_in_order() {
        let rows: Vec<(u32, u32)> = (0..50).map(|n| (n * 7 % 5, n * 31 % 50)).collect();
        let mut sorted = rows.clone();
        sorted.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        for limit in [1, 7, 50, 500] {
            let page = |offset| {
                sorted_page(
                    rows.clone(),
                    (limit, offset),
                    Some(SortOrder::Desc),
                    |a, b| a.0.cmp(&b.0),
                    |a, b| a.1.cmp(&b.1),
                )
            };
            let pages = (0..=50).step_by(limit as usize).flat_map(page);
            assert!(pages.eq(sorted.iter().copied()), "{limit} rows a page");
            assert_eq!(page(u32::MAX), []);
        }
    }
}
