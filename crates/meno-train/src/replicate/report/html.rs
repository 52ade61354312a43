//! `report.html`: one file, without anything from elsewhere.

use super::chart::{Axis, Series, chart};
use super::{Report, Verdict};
use crate::replicate::measure::{Measures, Shown};
use crate::replicate::record::StageRecord;
use serde_json::Value;
use std::fmt::Write;

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn percent(x: f64) -> String {
    format!("{:.1} %", 100.0 * x)
}

fn maybe(x: Option<f64>) -> String {
    x.map_or("–".into(), percent)
}

/// The page.
pub(super) fn page(r: &Report) -> String {
    let body = [warning(r), opening(r), claims(r), curves(r), stages(r), rewards(r), styles(r), samples(r), method(r)]
        .concat();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>R1, whole and small: seed {}</title><style>\n{}</style></head><body><main>{body}</main></body></html>\n",
        r.seed,
        include_str!("style.css")
    )
}

fn warning(r: &Report) -> String {
    match r.is_smoke() {
        true => format!("<p class=\"warning\">{}</p>", escape(&r.smoke_warning())),
        false => String::new(),
    }
}

fn opening(r: &Report) -> String {
    let (base, zero, r1) = (r.measures("base"), r.measures("r1-zero"), r.measures("r1"));
    let parameters = r.stage("base").parameters;
    let reproduced = r.claims.iter().filter(|c| c.verdict == Verdict::Reproduced).count();
    let tile = |n: String, l: String| {
        format!("<div class=\"tile\"><div class=\"n\">{n}</div><div class=\"l\">{l}</div></div>")
    };
    let ratio = r.length_ratio("r1-zero", "base").mean;
    let tiles = [
        tile(percent(base.score.pass1.mean), "pass@1 of the base model".into()),
        tile(percent(zero.score.pass1.mean), "after R1-Zero: rewards only, no examples".into()),
        tile(format!("{ratio:.1}×"), "longer responses, unasked".into()),
        tile(
            percent(r1.score.pass1.mean),
            format!("R1, {} in the question's language", percent(r1.language_consistency.mean)),
        ),
        tile(percent(r1.score.cons_at_k.mean), format!("R1 by majority vote of {}", r1.score.samples)),
        tile(format!("{reproduced} of {}", r.claims.len()), "claims of the paper reproduced".into()),
    ];
    format!(
        "<h1>R1, whole and small</h1><p>DeepSeek-R1's recipe (arXiv 2501.12948), every stage, from random weights: a \
         DeepSeek-V3 network in miniature ({:.2} million parameters, {:.2} million active per token; MLA, mixture of \
         experts, multi-token prediction) learns sums in two languages from a careless little web, and then to reason \
         about them. Seed {}, {:.1} minutes.</p><div class=\"tiles\">{}</div>",
        parameters[0] as f64 / 1e6,
        parameters[1] as f64 / 1e6,
        r.seed,
        r.minutes(),
        tiles.concat()
    )
}

fn claims(r: &Report) -> String {
    let mut html =
        "<h2>The paper's claims</h2><p class=\"soft\">Each verdict is computed from an interval of 95 % and \
                    the rule beside it.</p><div class=\"claims\">"
            .to_owned();
    for c in &r.claims {
        let class = match c.verdict {
            Verdict::Reproduced => "reproduced",
            Verdict::NotReproduced => "not_reproduced",
            Verdict::Undecided => "undecided",
        };
        let _ = write!(
            html,
            "<div class=\"claim\"><h3>{}</h3><div><span class=\"chip {class}\">{}</span></div><dl><dt>Paper</dt><dd>{}</dd>\
             <dt>Here</dt><dd>{}</dd><dt>Rule</dt><dd class=\"soft\">{}</dd></dl></div>",
            escape(c.claim),
            c.verdict.name(),
            escape(c.paper),
            escape(&c.measured),
            escape(c.rule)
        );
    }
    html + "</div>"
}

/// A figure of a stage over its steps.
fn points(record: &StageRecord, name: &str) -> Vec<(f64, f64)> {
    let point = |s: &serde_json::Map<String, Value>| Some((s.get("step")?.as_f64()?, s.get(name)?.as_f64()?));
    let all: Vec<(f64, f64)> = record.history.iter().filter_map(point).collect();
    // A line needs no more points than the screen has.
    let every = all.len().div_ceil(160).max(1);
    all.chunks(every)
        .map(|c| {
            let mean = |f: fn(&(f64, f64)) -> f64| c.iter().map(f).sum::<f64>() / c.len() as f64;
            (c[c.len() - 1].0, mean(|p| p.1))
        })
        .collect()
}

fn curves(r: &Report) -> String {
    let (zero, language) = (r.stage("r1-zero"), r.stage("r1-zero-language"));
    let both = |title: &str, axis, name: &str| {
        let series = [
            Series { name: "R1-Zero", colour: 1, points: points(zero, name) },
            Series { name: "with language reward", colour: 2, points: points(language, name) },
        ];
        chart(title, axis, &series)
    };
    let mut html =
        "<h2>R1-Zero learns</h2><p class=\"soft\">While training, over the questions of each step. The second \
                    line had the language reward from the start, on the same questions.</p><div class=\"charts\">"
            .to_owned();
    html += &both("Right answers", Axis::Share, "verdicts/right");
    html += &both("Response length, tokens", Axis::Number, "completions/mean_length");
    html += &both("Responses that check themselves", Axis::Share, "behaviour/self_check");
    html += &both("Words in the question's language", Axis::Share, "behaviour/language_consistency");
    html += &both("Responses in which a check says wait", Axis::Share, "behaviour/wait");
    html += &both("Steps with a slip", Axis::Share, "behaviour/slips_per_step");
    html += &both("Groups all right or all wrong", Axis::Share, "frac_reward_zero_std");
    html += &both("Entropy, nats", Axis::Number, "entropy");
    html += "</div><h2>The other stages learn</h2><div class=\"charts\">";
    let one = |title: &str, axis, stage: &str, name: &str| {
        chart(title, axis, &[Series { name: "", colour: 3, points: points(r.stage(stage), name) }])
    };
    html += &one("Base: loss, nats per token", Axis::Number, "base", "loss");
    html += &one("Base: fullest expert over the mean, less one", Axis::Number, "base", "moe/max_violation");
    let rl = [("Reasoning RL", "reasoning-rl", 1), ("R1", "r1", 2), ("RL on the student", "student-rl", 4)];
    let series = |name: &str| -> Vec<Series> {
        rl.iter()
            .map(|&(title, stage, colour)| Series { name: title, colour, points: points(r.stage(stage), name) })
            .collect()
    };
    html += &chart("Right answers", Axis::Share, &series("verdicts/right"));
    html += &chart("Words in the question's language", Axis::Share, &series("behaviour/language_consistency"));
    html + "</div>"
}

fn stages(r: &Report) -> String {
    let mut html = "<h2>The stages</h2><p class=\"soft\">Every model on the same held-out problems.</p><div class=\"scroll\">\
                    <table><tr><th>stage</th><th>pass@1</th><th>interval</th><th>pass@k</th><th>vote</th><th>tokens</th>\
                    <th>self-check</th><th>language</th><th>mixed</th><th>form</th><th>cut off</th><th>entropy</th>\
                    <th>TFLOP</th><th>time</th></tr>"
        .to_owned();
    for record in &r.records {
        let Some(m) = &record.measures else {
            let _ = write!(
                html,
                "<tr><td>{} <span class=\"soft\">{}</span></td><td colspan=\"12\" class=\"soft\">{} tokens in the vocabulary</td><td>{:.0} s</td></tr>",
                escape(&record.title),
                escape(&record.section),
                record.facts["vocabulary"],
                record.seconds
            );
            continue;
        };
        let key =
            if matches!(record.name.as_str(), "base" | "r1-zero" | "r1" | "distill") { " class=\"bold\"" } else { "" };
        let total = (m.score.right + m.score.wrong + m.score.truncated + m.score.unparsable).max(1);
        let _ = write!(
            html,
            "<tr{key}><td>{} <span class=\"soft\">{}</span></td><td>{}</td><td class=\"soft\">{:.1} – {:.1}</td><td>{}</td><td>{}</td>\
             <td>{:.0}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.2}</td><td>{:.2}</td><td>{:.0} s</td></tr>",
            escape(&record.title),
            escape(&record.section),
            percent(m.score.pass1.mean),
            100.0 * m.score.pass1.low,
            100.0 * m.score.pass1.high,
            percent(m.score.pass_at_k),
            percent(m.score.cons_at_k.mean),
            m.score.mean_tokens.mean,
            percent(m.self_check.mean),
            percent(m.language_consistency.mean),
            percent(m.behaviour.mixed),
            percent(m.behaviour.format),
            percent(m.score.truncated as f64 / total as f64),
            m.entropy,
            record.flops / 1e12,
            record.seconds
        );
    }
    html + "</table></div>"
}

fn rewards(r: &Report) -> String {
    let (base, zero, language) = (r.measures("base"), r.measures("r1-zero"), r.measures("r1-zero-language"));
    let row = |what: &str, f: &dyn Fn(&Measures) -> String| {
        format!("<tr><td>{what}</td><td>{}</td><td>{}</td><td>{}</td></tr>", f(base), f(zero), f(language))
    };
    let rows = [
        row("right answers", &|m| percent(m.score.pass1.mean)),
        row("thought and answer in their form", &|m| percent(m.behaviour.format)),
        row("response length, tokens", &|m| format!("{:.0}", m.score.mean_tokens.mean)),
        row("responses that check themselves", &|m| percent(m.self_check.mean)),
        row("words in the question's language", &|m| percent(m.language_consistency.mean)),
    ];
    let [formed, format_gain] = [base, zero].map(|m| m.behaviour.format);
    format!(
        "<h2>Which reward did what</h2><p>R1-Zero was paid for right answers and for the form (a thought that is not \
         empty, then the answer, {} of the base's responses and {} after). Nothing was paid for length, for checking or \
         for language; what changes there, the right answers brought. The last column adds the language reward.</p>\
         <div class=\"scroll\"><table><tr><th></th><th>base</th><th>accuracy + form</th><th>+ language</th></tr>{}</table></div>",
        percent(formed),
        percent(format_gain),
        rows.concat()
    )
}

fn styles(r: &Report) -> String {
    let (base, zero) = (r.measures("base"), r.measures("r1-zero"));
    let forced = |stage: &str, style: &str| {
        let value = r.stage(stage).forced.iter().find(|f| f.0 == style).map(|f| f.1);
        maybe(value)
    };
    let mut html = "<h2>What there was to find</h2><p>The little web answers in four ways. Before any reward, on held-out \
                    problems: how often each way is right when an answer is made to begin with it (the first step done \
                    rightly), and how often the base takes it by itself. Learning from rewards can only amplify a way \
                    that pays.</p><div class=\"scroll\"><table><tr><th>way</th><th>base, forced</th><th>base, share</th>\
                    <th>base, right</th><th>R1-Zero, forced</th><th>R1-Zero, share</th><th>R1-Zero, right</th></tr>"
        .to_owned();
    let words = [
        ("direct", "the answer alone"),
        ("short", "steps in the head"),
        ("columns", "columns"),
        ("checked", "columns, checked"),
    ];
    for (i, (style, words)) in words.iter().enumerate() {
        let (b, z) = (&base.styles[i], &zero.styles[i]);
        let _ = write!(
            html,
            "<tr><td>{words}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            forced("base", style),
            percent(b.share),
            maybe(b.pass1.filter(|_| b.share > 0.002)),
            forced("r1-zero", style),
            percent(z.share),
            maybe(z.pass1.filter(|_| z.share > 0.002))
        );
    }
    html += "</table></div><h3>Does checking help?</h3><p class=\"soft\">The check undoes a step by the inverse operation; it \
             does not repeat the step, which would repeat the slip.</p><div class=\"scroll\"><table><tr><th></th><th>base</th>\
             <th>R1-Zero</th><th>R1</th></tr>";
    let r1 = r.measures("r1");
    let mut row = |what: &str, f: &dyn Fn(&Measures) -> Option<f64>| {
        let _ = write!(
            html,
            "<tr><td>{what}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            maybe(f(base)),
            maybe(f(zero)),
            maybe(f(r1))
        );
    };
    row("right, in columns with a check", &|m| m.behaviour.right_with_check);
    row("right, in columns without", &|m| m.behaviour.right_without_check);
    row("steps with a slip at first", &|m| m.behaviour.slips_per_step);
    row("of checked slips, found", &|m| m.behaviour.slips_found);
    row("of found slips, repaired", &|m| m.behaviour.slips_repaired);
    row("of right steps, doubted", &|m| m.behaviour.false_alarms);
    html + "</table></div>"
}

/// A response with its tags dimmed, its checks and second thoughts marked.
fn pretty(s: &Shown) -> String {
    let chinese = s.question.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
    let mut out = Vec::new();
    for line in s.response.lines() {
        let check = line.starts_with("check ") || line.starts_with('查');
        let mut html = escape(line);
        for tag in ["think", "/think", "answer", "/answer"] {
            html = html.replace(&format!("&lt;{tag}&gt;"), &format!("<span class=\"tag\">&lt;{tag}&gt;</span>"));
        }
        for word in ["so", "check", "ok"] {
            if chinese {
                html = html.replace(&format!(" {word}"), &format!(" <span class=\"other\">{word}</span>"));
            }
        }
        if !chinese {
            for word in ["得", "查", "对"] {
                html = html.replace(word, &format!("<span class=\"other\">{word}</span>"));
            }
        }
        for word in [" wait", "等"] {
            html = html.replace(word, &format!("<span class=\"wait\">{word}</span>"));
        }
        out.push(if check { format!("<span class=\"check\">{html}</span>") } else { html });
    }
    out.join("\n")
}

fn samples(r: &Report) -> String {
    let mut html = "<h2>Before and after</h2><p class=\"soft\">The first sample each model gave to the first problems of the \
                    test, not chosen. Checks are blue, second thoughts marked, words of the other language underlined.</p>"
        .to_owned();
    let stages = [("base", "base"), ("r1-zero", "R1-Zero"), ("r1", "R1")];
    let shown = r.measures("base").examples.len().min(5);
    for i in 0..shown {
        let first = &r.measures("base").examples[i];
        let _ = write!(
            html,
            "<p class=\"q\">{} <span class=\"soft\">({})</span></p><div class=\"pair\">",
            escape(&first.question),
            escape(&first.answer)
        );
        for (stage, name) in stages {
            let Some(s) = r.measures(stage).examples.get(i) else { continue };
            let (class, word) = match s.verdict {
                meno_eval::Verdict::Right => ("reproduced", "right"),
                meno_eval::Verdict::Wrong => ("not_reproduced", "wrong"),
                meno_eval::Verdict::Truncated => ("undecided", "cut off"),
                meno_eval::Verdict::Unparsable => ("undecided", "no answer in its tags"),
            };
            let _ = write!(
                html,
                "<div class=\"answer\"><header><b>{name}</b><span><span class=\"soft\">{} tokens</span> <span class=\"chip {class}\">{word}</span></span></header><pre>{}</pre></div>",
                s.tokens,
                pretty(s)
            );
        }
        html += "</div>";
    }
    html
}

/// What made the report, where and when, as rows of a table.
fn provenance(r: &Report) -> String {
    let p = &r.provenance;
    let rows = [
        ("command", &p.command),
        ("preset", &p.preset),
        ("meno", &format!("{}, commit {}", p.version, p.commit)),
        ("processor", &format!("{}, {} kernels", p.cpu, p.kernels)),
        ("date", &p.date),
    ];
    rows.iter().map(|(k, v)| format!("<tr><th>{k}</th><td><code>{}</code></td></tr>", escape(v))).collect()
}

fn method(r: &Report) -> String {
    let e = &r.settings.evaluation;
    let gap = r.max_logprob_gap();
    let (distill, rl) = (r.stage("distill"), r.stage("student-rl"));
    let tally = |stage: &str| {
        let t = &r.stage(stage).facts["tally"];
        format!("{} of {} answers", r.stage(stage).facts["examples"], t["sampled"])
    };
    format!(
        "<h2>How it was measured</h2>\
         <p><b>Problems.</b> {} held-out problems of the {:?} split at temperature {}, at most {} tokens; {} samples each of the base, R1-Zero \
         and R1, {} of the others. \
         Problems of two and more operations are held out by a hash of the expression, one in twenty for the test and one \
         in twenty for validation; no training problem is or begins with one of them, in the corpus, in RL or in \
         fine-tuning. The recipe was chosen on validation.</p>\
         <p><b>Figures.</b> pass@1 is the mean over the samples; intervals are clustered by problem, comparisons of two \
         models are paired by problem. vote is the majority over the samples, ties shared. A response without an \
         answer in its tags is wrong, whatever it says.</p>\
         <p><b>One engine.</b> Sampling and training use the same weights and kernels; the largest difference between a \
         token's log-probability when it was sampled and when it was trained on, over all {} steps, is <b>{gap:e}</b>.</p>\
         <p><b>Data made here.</b> Cold start: {} of R1-Zero, those right and readable, words translated into the \
         question's language, a summary added. Fine-tuning after rejection sampling: {}. Distillation: {} of R1.</p>\
         <p><b>The student</b> is a dense network of {:.2} million parameters, pretrained on {:.2} million tokens of the same \
         corpus (the base: {:.2} million); both of its lessons start from there.</p>\
         <p><b>Compute.</b> 2 FLOP per active parameter and token sampled, 6 per token trained on. Distillation {:.2} \
         TFLOP of which {:.2} are the teacher's sampling; RL on the student {:.2}.</p>\
         <p><b>What is not the paper.</b> One family of questions instead of many; the edits of the cold start are made \
         by rule, not by people; no helpfulness or safety rewards; a few hundred thousand times fewer parameters.</p>\
         <footer><table>{}</table><p>Every figure is in <code>report.json</code>; the models stand beside it.</p></footer>",
        e.problems,
        e.split,
        e.temperature,
        e.max_completion_length,
        e.samples,
        e.samples_between,
        r.records
            .iter()
            .map(|s| s.history.iter().filter(|h| h.contains_key("sampling/logprob_gap")).count())
            .sum::<usize>(),
        tally("cold-start"),
        tally("rejection-sft"),
        tally("distill"),
        r.stage("student-base").parameters[0] as f64 / 1e6,
        r.stage("student-base").facts["tokens"].as_f64().unwrap_or(0.0) / 1e6,
        r.stage("base").facts["tokens"].as_f64().unwrap_or(0.0) / 1e6,
        distill.flops / 1e12,
        distill.facts["sampling_flops"].as_f64().unwrap_or(0.0) / 1e12,
        rl.flops / 1e12,
        provenance(r)
    )
}
