// Server-sent events out of a byte stream, cut wherever the network cut it.

/** Takes chunks of bytes, gives the `data` of every event that is complete. */
export class EventReader {
  constructor() {
    this.decoder = new TextDecoder("utf-8");
    this.rest = "";
    this.data = [];
  }

  /** The events that `bytes` completes. */
  push(bytes) {
    return this.take(this.decoder.decode(bytes, { stream: true }), false);
  }

  /** What was still waiting for its empty line when the stream ended. */
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
      // A carriage return at the end may be half of a line end.
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
