//! Line charts as SVG.
//!
//! Promises: a chart is one self-contained file without scripts; text in it is escaped; what cannot be drawn
//! on a logarithmic axis (zero and below) is left out. Leaves to the caller: what the numbers mean.

use std::fmt::Write as _;

/// How an axis counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly, from zero.
    Linear,
    /// In powers of ten.
    Logarithmic,
}

/// A line with its name.
#[derive(Clone, Debug)]
pub struct Line {
    /// What the key says.
    pub name: String,
    /// Which colour it has; lines that belong together have the same.
    pub colour: usize,
    /// Whether it is dashed, to tell it from the others of its colour.
    pub dashed: bool,
    /// Its points, by ascending x.
    pub points: Vec<(f64, f64)>,
}

/// A chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// What is on the horizontal axis; logarithmic.
    pub x_label: String,
    /// What is on the vertical axis.
    pub y_label: String,
    /// How the vertical axis counts.
    pub y_scale: Scale,
    /// The lines.
    pub lines: Vec<Line>,
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 180.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 52.0;

/// Told apart by most people with any kind of sight for colours.
const COLOURS: [&str; 8] = [
    "#333333", "#d55e00", "#b8860b", "#cc79a7", "#7b4fa3", "#3aa0d8", "#009e73", "#0047ab",
];

impl Chart {
    /// The chart as SVG.
    #[must_use]
    pub fn svg(&self) -> String {
        let x = Axis::of(
            self.values(|point| point.0),
            Scale::Logarithmic,
            (LEFT, WIDTH - RIGHT),
        );
        let y = Axis::of(self.values(|point| point.1), self.y_scale, (HEIGHT - BOTTOM, TOP));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{}</text>\n",
            escaped(&self.title)
        );
        self.push_axes(&mut svg, &x, &y);
        for (number, line) in self.lines.iter().enumerate() {
            push_line(&mut svg, number, line, &x, &y);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn values(&self, of: impl Fn(&(f64, f64)) -> f64) -> Vec<f64> {
        self.lines
            .iter()
            .flat_map(|line| line.points.iter().map(&of))
            .collect()
    }

    fn push_axes(&self, svg: &mut String, x: &Axis, y: &Axis) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for tick in y.ticks() {
            let at = y.place(tick);
            let _ = writeln!(
                svg,
                "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#ddd\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 8.0,
                at + 4.0,
                number(tick)
            );
        }
        let mut places: Vec<f64> = self.values(|point| point.0);
        places.sort_by(f64::total_cmp);
        places.dedup();
        let mut last = f64::NEG_INFINITY;
        for place in places {
            let at = x.place(place);
            // Where two would touch, the first stands.
            if at - last > 30.0 {
                last = at;
                let _ = writeln!(
                    svg,
                    "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                    bottom + 18.0,
                    number(place)
                );
            }
        }
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {TOP}V{bottom}H{right}\" fill=\"none\" stroke=\"#333\"/>\n\
             <text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n\
             <text transform=\"translate(16 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            f64::midpoint(LEFT, right),
            HEIGHT - 12.0,
            escaped(&self.x_label),
            f64::midpoint(TOP, bottom),
            escaped(&self.y_label)
        );
    }
}

fn push_line(svg: &mut String, index: usize, line: &Line, x: &Axis, y: &Axis) {
    let colour = COLOURS[line.colour % COLOURS.len()];
    let dashes = if line.dashed {
        " stroke-dasharray=\"6 3\""
    } else {
        ""
    };
    let mut path = String::new();
    for point in line.points.iter().filter(|point| y.shows(point.1)) {
        let letter = if path.is_empty() { 'M' } else { 'L' };
        let (at_x, at_y) = (x.place(point.0), y.place(point.1));
        let _ = write!(path, "{letter}{at_x:.1} {at_y:.1}");
        let _ = writeln!(
            svg,
            "<circle cx=\"{at_x:.1}\" cy=\"{at_y:.1}\" r=\"2.5\" fill=\"{colour}\"/>"
        );
    }
    let style = format!("stroke=\"{colour}\" stroke-width=\"2\"{dashes} fill=\"none\"");
    let (key_x, key_y) = (WIDTH - RIGHT + 14.0, TOP + 12.0 + 20.0 * index as f64);
    let _ = writeln!(
        svg,
        "<path d=\"{path}\" {style}/>\n<path d=\"M{key_x} {key_y}h22\" {style}/>\
         <text x=\"{}\" y=\"{}\">{}</text>",
        key_x + 28.0,
        key_y + 4.0,
        escaped(&line.name)
    );
}

struct Axis {
    scale: Scale,
    least: f64,
    most: f64,
    /// Where the least and the most are drawn.
    ends: (f64, f64),
}

impl Axis {
    fn of(values: Vec<f64>, scale: Scale, ends: (f64, f64)) -> Self {
        let shown = |value: &f64| scale == Scale::Linear || *value > 0.0;
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.into_iter().filter(|value| value.is_finite()).filter(shown) {
            least = least.min(value);
            most = most.max(value);
        }
        if least > most {
            (least, most) = (1.0, 10.0);
        }
        if least == most {
            most = least + 1.0;
        }
        if scale == Scale::Linear {
            least = 0.0;
            let step = round_step(most);
            most = (most / step).ceil() * step;
        }
        Self {
            scale,
            least,
            most,
            ends,
        }
    }

    fn shows(&self, value: f64) -> bool {
        value.is_finite() && (self.scale == Scale::Linear || value > 0.0)
    }

    fn place(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.least) / (self.most - self.least),
            Scale::Logarithmic => (value / self.least).ln() / (self.most / self.least).ln(),
        };
        self.ends.0 + share * (self.ends.1 - self.ends.0)
    }

    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = round_step(self.most);
                (0..=10)
                    .map(|number| f64::from(number) * step)
                    .filter(|tick| *tick <= self.most * (1.0 + 1e-9))
                    .collect()
            }
            Scale::Logarithmic => {
                let firsts: [&[f64]; 3] = [
                    &[1.0, 3.0],
                    &[1.0, 2.0, 5.0],
                    &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
                ];
                let mut all = firsts.into_iter().map(|firsts| self.ticks_beginning(firsts));
                // A short axis has more between its powers of ten.
                all.clone()
                    .find(|ticks| ticks.len() >= 4)
                    .or_else(|| all.next_back())
                    .unwrap_or_default()
            }
        }
    }

    /// All numbers on the axis that are one of `firsts` times a power of ten.
    fn ticks_beginning(&self, firsts: &[f64]) -> Vec<f64> {
        (-9..=18)
            .flat_map(|power| firsts.iter().map(move |first| first * 10_f64.powi(power)))
            .filter(|tick| *tick >= self.least && *tick <= self.most)
            .collect()
    }
}

/// The step from tick to tick of an axis from zero to `most`: one, two or five times a power of ten, five to
/// ten of them.
fn round_step(most: f64) -> f64 {
    let power = 10_f64.powf((most / 10.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|first| first * power);
    step.into_iter().find(|step| most / step <= 10.0).unwrap_or(power)
}

/// A number as short as it is still clear.
fn number(value: f64) -> String {
    for (unit, letter) in [(1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if value >= unit {
            return format!("{}{letter}", trimmed(value / unit));
        }
    }
    trimmed(value)
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_stand_where_they_should() {
        let axis = Axis::of(vec![10.0, 1000.0], Scale::Logarithmic, (0.0, 100.0));
        assert!((axis.place(100.0) - 50.0).abs() < 1e-9);
        let axis = Axis::of(vec![50.0, 100.0], Scale::Linear, (0.0, 100.0));
        assert!(
            (axis.place(50.0) - 50.0).abs() < 1e-9,
            "a linear axis begins at zero"
        );
    }

    #[test]
    fn nothing_to_draw_is_drawn_too() {
        let mut chart = Chart {
            title: "a < b".to_owned(),
            x_label: "x".to_owned(),
            y_label: "y".to_owned(),
            y_scale: Scale::Logarithmic,
            lines: vec![Line {
                name: "none & nothing".to_owned(),
                colour: 8,
                dashed: true,
                points: vec![(1.0, 0.0), (2.0, f64::NAN)],
            }],
        };
        for scale in [Scale::Linear, Scale::Logarithmic] {
            chart.y_scale = scale;
            let svg = chart.svg();
            assert!(
                svg.contains("a &lt; b") && svg.contains("none &amp; nothing"),
                "{svg}"
            );
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn ticks_are_round_and_neither_few_nor_many() {
        let ticks = |values: [f64; 2], scale| Axis::of(values.to_vec(), scale, (0.0, 100.0)).ticks();
        assert_eq!(ticks([3.0, 97.0], Scale::Linear).len(), 11);
        assert_eq!(
            ticks([3.0, 12.5], Scale::Linear),
            [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0]
        );
        assert_eq!(
            ticks([3.5, 12.5], Scale::Logarithmic),
            [4.0, 5.0, 6.0, 7.0, 8.0, 10.0]
        );
        assert_eq!(
            ticks([20.0, 4000.0], Scale::Logarithmic),
            [30.0, 100.0, 300.0, 1000.0, 3000.0]
        );
        for most in [0.07, 1.0, 9.9, 10.1, 55.0, 1234.0] {
            let count = ticks([0.0, most], Scale::Linear).len();
            assert!((5..=12).contains(&count), "{count} ticks up to {most}");
        }
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.5, "0.5"),
            (20.0, "20"),
            (3000.0, "3k"),
            (2.5e9, "2.5G"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
