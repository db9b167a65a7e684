//! A history as a plot: SVG that can stand in a wiki page or a ticket, by day and by night.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::api::samples::scale::{TimeAxis, label};
use crate::api::samples::tables::History;
use xenapi_mirror::metrics::Unit;

const WIDTH: u32 = 960;
/// Height of the title, and of each panel.
const TITLE: u32 = 58;
const PANEL: u32 = 250;

/// Where the lines begin.
const LEFT: i32 = 92;

/// Panels and lines that a plot has at most.
const MOST_PANELS: usize = 6;
const MOST_LINES: usize = 24;

/// Nothing that is measured is larger, nor, unless it is nothing, smaller: beyond that an axis has
/// no marks, and the search for them would not end.
const SANE: std::ops::RangeInclusive<f64> = 1e-100..=1e100;

const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xfe);
const INK: RGBColor = RGBColor(0x24, 0x29, 0x2f);
const FAINT: RGBColor = RGBColor(0x6e, 0x77, 0x81);
const GRID: RGBColor = RGBColor(0xe6, 0xe9, 0xed);

/// Told from each other by day, by night and by most eyes.
const LINES: [RGBColor; 8] = [
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0xe0, 0x7b, 0x00),
    RGBColor(0x2c, 0x9a, 0x4b),
    RGBColor(0xd6, 0x3b, 0x6b),
    RGBColor(0x8a, 0x63, 0xd2),
    RGBColor(0x00, 0x97, 0xa7),
    RGBColor(0x9a, 0x6a, 0x3a),
    RGBColor(0x6c, 0x7a, 0x89),
];

/// The colours above by night. A rule of a style sheet wins over an attribute.
const NIGHT: &str = "<style>@media(prefers-color-scheme:dark){\
     [fill=\"#FFFFFE\"]{fill:#0d1117}[stroke=\"#FFFFFE\"]{stroke:#0d1117}\
     [fill=\"#24292F\"]{fill:#e6edf3}[stroke=\"#24292F\"]{stroke:#8b949e}\
     [fill=\"#6E7781\"]{fill:#9aa4af}[stroke=\"#6E7781\"]{stroke:#6e7781}\
     [fill=\"#E6E9ED\"]{fill:#262c36}[stroke=\"#E6E9ED\"]{stroke:#262c36}}</style>\n";

/// One line of a plot.
struct Line<'a> {
    name: &'a str,
    /// Runs of points without a gap.
    runs: Vec<Vec<(i64, f64)>>,
}

/// A history as SVG. `title` says whose it is.
pub fn plot(history: &History<'_>, title: &str) -> Result<String, PlotError> {
    let panels = panels(history);
    let height = TITLE + PANEL * u32::try_from(panels.len().max(1)).unwrap_or(1);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        root.fill(&PAPER)?;
        head(&root, history, title)?;
        let (_, body) = root.split_vertically(TITLE);
        let areas = body.split_evenly((panels.len().max(1), 1));
        for (area, (unit, lines)) in areas.iter().zip(&panels) {
            panel(area, history, *unit, lines)?;
        }
        if panels.is_empty() {
            let style = ("sans-serif", 16).into_font().color(&FAINT);
            body.draw(&Text::new("nothing was measured", (WIDTH as i32 / 2 - 70, 80), style))?;
        }
        root.present()?;
    }
    // Behind the opening tag.
    let at = svg.find(">\n").map_or(0, |at| at + 2);
    svg.insert_str(at, NIGHT);
    Ok(svg)
}

/// A plot that cannot be drawn.
#[derive(Debug, thiserror::Error)]
#[error("the plot cannot be drawn: {0}")]
pub struct PlotError(String);

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for PlotError {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        Self(error.to_string())
    }
}

/// The lines by their units, each unit with a panel of its own.
fn panels<'a>(history: &'a History<'a>) -> Vec<(Unit, Vec<Line<'a>>)> {
    let mut panels: Vec<(Unit, Vec<Line<'a>>)> = Vec::new();
    for (place, pick) in history.picks.iter().take(MOST_LINES).enumerate() {
        let mut runs: Vec<Vec<(i64, f64)>> = Vec::new();
        let mut last = None;
        for (time, row) in history.rows() {
            let value = history.values(row).nth(place);
            let Some(value) = value.filter(|value| *value == 0.0 || SANE.contains(&value.abs()))
            else {
                last = None;
                continue;
            };
            match runs.last_mut() {
                Some(run) if last.is_some_and(|last| time - last <= history.table.step) => {
                    run.push((*time, value));
                }
                _ => runs.push(vec![(*time, value)]),
            }
            last = Some(*time);
        }
        let line = Line { name: &pick.meaning.name, runs };
        let unit = pick.meaning.unit;
        match panels.iter().position(|(known, _)| *known == unit) {
            Some(panel) => panels[panel].1.push(line),
            None if panels.len() < MOST_PANELS => panels.push((unit, vec![line])),
            None => {}
        }
    }
    panels
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn head(root: &Area<'_>, history: &History<'_>, title: &str) -> Result<(), PlotError> {
    let ink = ("sans-serif", 20).into_font().color(&INK);
    root.draw(&Text::new(cut(title, 90), (16, 12), ink))?;
    let (from, to) =
        (super::range::rfc_3339_of(history.range.0), super::range::rfc_3339_of(history.range.1));
    let words = format!("{from} to {to}, {} over {}", history.cf.name(), step(history.table.step));
    let faint = ("sans-serif", 13).into_font().color(&FAINT);
    root.draw(&Text::new(words, (16, 38), faint))?;
    Ok(())
}

fn panel(
    area: &Area<'_>,
    history: &History<'_>,
    unit: Unit,
    lines: &[Line<'_>],
) -> Result<(), PlotError> {
    let values =
        || lines.iter().flat_map(|line| line.runs.iter().flatten()).map(|(_, value)| *value);
    let (low, high) = (values().fold(0.0, f64::min), values().fold(0.0, f64::max));
    let high = match unit {
        Unit::Fraction => high.max(1.0),
        _ if high > low => high + (high - low) * 0.05,
        _ => low + 1.0,
    };
    let (from, to) = history.range;
    let (strip, area) = area.split_vertically(legend(None, lines)?);
    legend(Some(&strip), lines)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(8)
        .margin_right(24)
        .x_label_area_size(30)
        .y_label_area_size(84)
        .build_cartesian_2d(TimeAxis(from..to.max(from + 1)), low..high)?;
    let text = ("sans-serif", 12).into_font().color(&INK);
    let marks = |value: &f64| label(unit, *value);
    chart
        .configure_mesh()
        .x_labels(9)
        .y_labels(6)
        .y_label_formatter(&marks)
        .y_desc(unit.name().unwrap_or("unknown unit"))
        .label_style(text)
        .axis_desc_style(("sans-serif", 12).into_font().color(&FAINT))
        .axis_style(FAINT)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (line, colour) in lines.iter().zip(LINES.iter().cycle()) {
        for run in &line.runs {
            chart.draw_series(LineSeries::new(run.iter().copied(), colour.stroke_width(2)))?;
        }
        // A run of one point has no length.
        let points = line.runs.iter().filter(|run| run.len() == 1).flatten();
        chart.draw_series(points.map(|point| Circle::new(*point, 2, colour.filled())))?;
    }
    Ok(())
}

/// The names of lines above them, in as many rows as it takes. How high that is; drawn where there
/// is an area to draw it on.
fn legend(area: Option<&Area<'_>>, lines: &[Line<'_>]) -> Result<u32, PlotError> {
    /// What a character takes, about, and what stands around a name.
    const CHARACTER: i32 = 7;
    const AROUND: i32 = 44;
    const ROW: i32 = 18;
    let (mut x, mut y) = (LEFT, 0);
    let text = ("sans-serif", 12).into_font().color(&INK);
    for (line, colour) in lines.iter().zip(LINES.iter().cycle()) {
        let name = cut(line.name, 40);
        let width = i32::try_from(name.chars().count()).unwrap_or(40) * CHARACTER + AROUND;
        if x > LEFT && x + width > WIDTH as i32 {
            (x, y) = (LEFT, y + ROW);
        }
        if let Some(area) = area {
            let mark = vec![(x, y + 9), (x + 18, y + 9)];
            area.draw(&PathElement::new(mark, colour.stroke_width(3)))?;
            area.draw(&Text::new(name, (x + 24, y + 3), text.clone()))?;
        }
        x += width;
    }
    Ok(u32::try_from(y + ROW).unwrap_or_default())
}

/// So many characters, without those that XML cannot hold.
fn cut(text: &str, longest: usize) -> String {
    let text = text.chars().filter(|character| {
        !character.is_control() && !matches!(character, '\u{fffe}' | '\u{ffff}')
    });
    let mut shown: String = text.clone().take(longest).collect();
    if text.count() > longest {
        shown.push('…');
    }
    shown
}

fn step(seconds: i64) -> String {
    match seconds {
        60 => "1 minute".to_owned(),
        3600 => "1 hour".to_owned(),
        86_400 => "1 day".to_owned(),
        other => format!("{other} seconds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::samples::range::Instants;
    use crate::api::samples::selection::Selection;
    use xenapi_mirror::metrics::{Cf, Owner, Table};

    #[test]
    fn no_number_keeps_a_plot_from_ending() {
        let numbers = [
            f64::MAX,
            f64::MIN,
            1.72e308,
            1e300,
            1e100,
            -1e100,
            1e99,
            5e-324,
            f64::MIN_POSITIVE,
            1e-100,
            f64::NAN,
            f64::INFINITY,
            0.0,
            1.0,
        ];
        for source in ["cpu0", "memory", "x", "vbd_a_read_latency"] {
            for (place, number) in numbers.iter().enumerate() {
                let row = |time, value: f64| (time, vec![value].into_boxed_slice());
                let other = numbers[(place + 1) % numbers.len()];
                let table = Table {
                    step: 5,
                    newest: 15,
                    columns: vec![source.into()],
                    rows: vec![row(5, *number), row(10, other), row(15, -number)],
                };
                let picks = Selection::default().pick(Owner::Vm, &table.columns);
                let history = History {
                    uuid: uuid::Uuid::nil(),
                    backend: "lab",
                    class: "VM",
                    cf: Cf::Average,
                    table: &table,
                    picks: &picks.expect("all of them"),
                    range: (0, 20),
                    instants: Instants::Unix,
                };
                let svg = plot(&history, "a VM").expect("a plot");
                assert!(!svg.contains("inf") && !svg.contains("NaN"), "{number} {other}: {svg}");
            }
        }
    }
}
