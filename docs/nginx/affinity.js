// Prefix affinity for nginx.conf, in njs: requests of one conversation go to one replica of `meno serve`.
//
// A conversation is recognized by its API key and its beginning: the system prompt and the messages up to the first one
// of the user. The key counts because replicas share cached prefixes only among requests with the same key.

import crypto from 'crypto';

// The API key, in either of the headers that `meno serve` reads.
function apiKey(headers) {
    const bearer = /^bearer +(.*)$/i.exec(headers['Authorization'] || '');
    return (bearer ? bearer[1] : headers['X-Api-Key'] || '').trim();
}

// The text of a message, whether the client sends it as a string or as a list of parts. Other fields are left out:
// `cache_control`, for example, moves from message to message while a conversation grows.
function textOf(content) {
    return Array.isArray(content) ? content.map((part) => (part && part.text) || '').join('') : content;
}

// The messages up to the first one of the user, or the first one if the user has none.
function firstTurns(turns) {
    return turns.slice(0, turns.findIndex((turn) => turn && turn.role === 'user') + 1 || 1);
}

// The beginning of a conversation: `messages` in chat completions and Anthropic's API (there with `system`), `input` in
// responses (with `instructions`), which may be a text: the first message.
function beginning(body) {
    const turns = body.messages || body.input;
    const texts = Array.isArray(turns) ? firstTurns(turns).map((turn) => turn && textOf(turn.content)) : [turns];
    return [textOf(body.system), body.instructions, texts];
}

// The most commas, and the most brackets of a kind, in a body that is parsed. The object takes nginx's memory until the
// answer ends: at most 8 MiB with this limit, 75 MiB without it. Conversations of 1 MiB, the largest body that nginx
// keeps in memory, have fewer.
const MAX_SEPARATORS = 16384;

// True if a text contains a character more than `MAX_SEPARATORS` times; within strings it counts, too.
function exceeds(text, character) {
    let at = -1;
    for (let n = 0; n <= MAX_SEPARATORS; n++) {
        at = text.indexOf(character, at + 1);
        if (at < 0) {
            return false;
        }
    }
    return true;
}

// The request as an object.
function parsed(text) {
    if ([',', '[', '{'].some((separator) => exceeds(text, separator))) {
        throw new Error(`the body has more than ${MAX_SEPARATORS} commas or brackets`);
    }
    return JSON.parse(text);
}

// Sets `$affinity` and passes the request on. nginx has read the body before it calls this function. A body that is not
// JSON keeps the random value: a replica answers it with an error.
function route(r) {
    try {
        const conversation = JSON.stringify([apiKey(r.headersIn), beginning(parsed(r.requestText))]);
        r.variables.affinity = crypto.createHash('sha256').update(conversation).digest('hex');
    } catch (error) {
        r.log(`no affinity: ${error.message}`);
    }
    r.internalRedirect('@conversation');
}

export default { route };
