// Parses server-sent events from a byte stream that may be split anywhere.

/** Takes chunks of bytes; returns the `data` of complete events. */
export class EventReader {
  constructor() {
    this.decoder = new TextDecoder("utf-8");
    this.rest = "";
    this.data = [];
  }

  /** Returns the events that `bytes` completes. */
  push(bytes) {
    return this.take(this.decoder.decode(bytes, { stream: true }), false);
  }

  /** Returns the event that still lacks its empty line when the stream ends. */
  end() {
    const events = this.take(this.decoder.decode(), true);
    if (this.data.length > 0) events.push(this.data.splice(0).join("\n"));
    return events;
  }

  take(text, last) {
    const events = [];
    this.rest += text;
    let from = 0;
    for (let i = 0; i < this.rest.length; i += 1) {
      const c = this.rest[i];
      if (c !== "\n" && c !== "\r") continue;
      // A carriage return at the end of a chunk may be half of a CRLF.
      if (c === "\r" && i + 1 === this.rest.length && !last) break;
      this.line(this.rest.slice(from, i), events);
      if (c === "\r" && this.rest[i + 1] === "\n") i += 1;
      from = i + 1;
    }
    this.rest = this.rest.slice(from);
    if (last && this.rest) this.line(this.rest, events);
    return events;
  }

  line(line, events) {
    if (line === "") {
      if (this.data.length > 0) events.push(this.data.splice(0).join("\n"));
    } else if (line.startsWith("data:")) {
      this.data.push(line.slice(line[5] === " " ? 6 : 5));
    }
  }
}
