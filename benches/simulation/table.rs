//! A table of figures, and what was asked for.

use crate::model::{Figure, Figures};

pub struct Options {
    pub seeds: usize,
    /// Whether to fail if a figure is unexpected.
    pub checks: bool,
}

pub struct Table {
    pub heading: &'static str,
    pub seeds: usize,
    pub rows: Vec<Row>,
}

pub struct Row {
    pub name: String,
    pub model: Figures,
    pub measured: Figures,
}

impl Options {
    pub fn of(args: &[String]) -> Self {
        let value = |name| {
            let at = args.iter().position(|arg| arg == name)?;
            args.get(at + 1)?.parse().ok()
        };
        Self {
            seeds: value("--seeds").unwrap_or(5),
            checks: args.iter().any(|arg| arg == "--check"),
        }
    }
}

impl Table {
    pub fn print(&self) {
        println!("### {}\n", self.heading);
        println!("| | failed: model | failed: real | refused: model | refused: real |");
        println!("|---|---:|---:|---:|---:|");
        for row in &self.rows {
            let cells = [
                (row.model.failed, row.measured.failed),
                (row.model.refused, row.measured.refused),
            ];
            print!("| {} |", row.name);
            for (model, measured) in cells {
                let is_expected = model.expected(self.seeds).contains(&measured.mean);
                let note = if is_expected { "" } else { " (!)" };
                print!(" {} | {}{note} |", cell(model), cell(measured));
            }
            println!();
        }
        println!();
    }

    pub fn is_expected(&self) -> bool {
        let is_expected =
            |model: Figure, measured: Figure| model.expected(self.seeds).contains(&measured.mean);
        self.rows.iter().all(|row| {
            is_expected(row.model.failed, row.measured.failed)
                && is_expected(row.model.refused, row.measured.refused)
        })
    }
}

fn cell(figure: Figure) -> String {
    format!("{:.0} ±{:.0}", figure.mean, figure.deviation)
}
