//! The results as a person reads them: the cost of each variant, and what it told.

use super::answer::{Answer, Held};
use super::{Results, Row};
use crate::render::{left_out, number, table};

pub(crate) fn tables(results: &Results) -> String {
    let mut text = format!(
        "{}, measured alternately\n\n{}\n{}",
        results.conditions.describe(),
        costs(&results.rows),
        answers(results)
    );
    text += &left_out(&results.left_out);
    text
}

/// Cost that each variant adds, and in brackets `light` as a multiple of that.
fn costs(rows: &[Row]) -> String {
    let cells = rows.iter().map(|row| {
        let mut cells = vec![format!("at depth {}", row.depth), number(row.untraced_ns)];
        cells.extend(row.costs.iter().enumerate().map(|(index, cost)| match index {
            0 => format!("+ {}", number(cost.more_ns)),
            _ => format!("+ {} ({:.2})", number(cost.more_ns), cost.light_times),
        }));
        cells
    });
    let mut head = vec!["ns for each stream", "untraced"];
    head.extend(rows.iter().take(1).flat_map(|row| &row.costs).map(|cost| cost.variant.name()));
    table(&head, cells)
}

fn answers(results: &Results) -> String {
    let row = |name: &str, answer: &Answer| {
        let cells = |held: Held| [held.count.to_string(), number(held.bytes as f64)];
        let mut row = vec![name.to_owned()];
        row.extend(cells(answer.inflaters));
        row.extend(cells(answer.deflaters));
        row
    };
    let told = results.answers.iter().map(|told| row(told.variant.name(), &told.answer));
    let head = ["held by Streams.keep", "inflaters, in", "bytes", "deflaters, in", "bytes"];
    table(&head, [row("in truth", &Answer::truth())].into_iter().chain(told))
}
