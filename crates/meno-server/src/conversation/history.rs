//! Rewrites of the history for chat templates with restrictions.

use crate::chat_message::ChatMessage;
use meno_engine::Message;

/// Splits every turn with several calls into turns with one call, each followed by its result.
pub(super) fn one_call_a_turn(messages: Vec<ChatMessage>) -> Vec<ChatMessage> {
    let mut out = Vec::new();
    let mut rest = messages.into_iter().peekable();
    while let Some(mut message) = rest.next() {
        let calls = message.tool_calls.take().unwrap_or_default();
        if calls.len() < 2 {
            message.tool_calls = (!calls.is_empty()).then_some(calls);
            out.push(message);
            continue;
        }
        let mut results: Vec<ChatMessage> = Vec::new();
        while let Some(result) = rest.next_if(|m| m.role == "tool") {
            results.push(result);
        }
        for (i, call) in calls.into_iter().enumerate() {
            // The text and the thinking stay with the first call.
            let turn =
                if i == 0 { message.clone() } else { ChatMessage { role: "assistant".into(), ..Default::default() } };
            let named = results.iter().position(|r| !call.id.is_empty() && r.tool_call_id.as_ref() == Some(&call.id));
            let result = named.or((!results.is_empty()).then_some(0)).map(|at| results.remove(at));
            out.push(ChatMessage { tool_calls: Some(vec![call]), ..turn });
            out.extend(result);
        }
        out.append(&mut results);
    }
    out
}

/// Appends the text of a message to another one.
pub(super) fn append(to: &mut Message, message: &Message, between: &str) {
    let texts = [&to.content, &message.content].map(|c| c.as_str().unwrap_or_default());
    to.content = texts.into_iter().filter(|t| !t.is_empty()).collect::<Vec<_>>().join(between).into();
}

/// Moves the text of system messages to the beginning of the next user message.
pub(super) fn without_system(messages: Vec<Message>) -> Vec<Message> {
    let mut out: Vec<Message> = Vec::new();
    let mut pending: Option<Message> = None;
    for message in messages {
        match (message.role.as_str(), pending.take()) {
            ("system", None) => pending = Some(Message { role: "user".into(), ..message }),
            ("system", Some(mut before)) => {
                append(&mut before, &message, "\n\n");
                pending = Some(before);
            }
            ("user", Some(mut before)) => {
                append(&mut before, &message, "\n\n");
                out.push(before);
            }
            (_, before) => {
                out.extend(before);
                out.push(message);
            }
        }
    }
    out.extend(pending);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn calls_and_results_are_paired() {
        let messages: Vec<ChatMessage> = serde_json::from_value(json!([
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "see", "tool_calls": [
                {"id": "1", "function": {"name": "a"}}, {"id": "2", "function": {"name": "b"}}]},
            {"role": "tool", "tool_call_id": "2", "content": "two"},
            {"role": "tool", "tool_call_id": "1", "content": "one"},
            {"role": "user", "content": "r"},
        ]))
        .unwrap();
        let summary = |m: &ChatMessage| {
            let call = m.tool_calls.as_ref().map(|c| c[0].function.name.clone());
            (m.role.clone(), call, m.tool_call_id.clone())
        };
        let all: Vec<_> = one_call_a_turn(messages).iter().map(summary).collect();
        let expected = [
            ("user", None, None),
            ("assistant", Some("a"), None),
            ("tool", None, Some("1")),
            ("assistant", Some("b"), None),
            ("tool", None, Some("2")),
            ("user", None, None),
        ];
        let expected = expected.map(|(r, c, t)| (r.to_owned(), c.map(str::to_owned), t.map(str::to_owned)));
        assert_eq!(all, expected);
    }

    #[test]
    fn system_messages_move_to_the_user() {
        let messages = [("system", "S"), ("system", "T"), ("user", "q"), ("assistant", "a")];
        let out = without_system(messages.map(|(role, text)| Message::new(role, text)).into());
        assert_eq!(out, [Message::new("user", "S\n\nT\n\nq"), Message::new("assistant", "a")]);
        assert_eq!(without_system(vec![Message::new("system", "S")]), [Message::new("user", "S")]);
    }
}
