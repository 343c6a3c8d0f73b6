// What a film shows in front of the page. Its styles are its own, and the page's do not reach it.
(({ title, note, terminal, x, y, pressed }) => {
  let host = document.querySelector("film-overlay");
  if (!host) {
    host = document.createElement("film-overlay");
    document.documentElement.append(host); // the body's content may be exchanged
    document.documentElement.style.paddingBottom = "56px"; // so that the title covers nothing
    const styles = new CSSStyleSheet(); // the page's policy permits no others
    styles.replaceSync(`
      :host { position: fixed; inset: 0; z-index: 1000; pointer-events: none; font: 20px/1.4 "DejaVu Sans", sans-serif }
      .title { position: absolute; inset: auto 0 0; height: 56px; padding: 0 28px; background: #12302b; color: #fff;
        display: flex; align-items: center; justify-content: space-between; font-weight: 600 }
      .title span:last-child { font-weight: 400; color: #c4e0d8 }
      .terminal { position: absolute; left: 40px; right: 40px; bottom: 76px; height: 220px; border-radius: 10px; overflow: hidden;
        background: #10151c; color: #d7e0ea; box-shadow: 0 12px 40px #0008; display: flex; flex-direction: column;
        font: 17px/1.5 "DejaVu Sans Mono", monospace }
      .terminal.alone { height: auto; top: 40px }
      .terminal header { background: #242d38; padding: 5px 16px; font-size: 14px; color: #9fb0c0 }
      .terminal div { flex: 1; display: flex; flex-direction: column; justify-content: flex-end; overflow: hidden; padding: 10px 16px }
      .terminal.alone div { justify-content: flex-start }
      .terminal pre { margin: 0; font: inherit; white-space: pre-wrap; overflow-wrap: anywhere }
      .terminal b { color: #7fe0c0; font-weight: 600 }
      .terminal i { display: inline-block; width: 10px; height: 19px; background: #d7e0ea; vertical-align: -4px }
      .pointer { position: absolute; width: 26px; height: 26px; filter: drop-shadow(0 2px 3px #0009) }
      .ring { position: absolute; width: 44px; height: 44px; margin: -22px; border-radius: 50%; border: 3px solid #e0802f; background: #e0802f33 }
    `);
    host.attachShadow({ mode: "open" }).adoptedStyleSheets = [styles];
  }
  const make = (name, kind, ...inner) => {
    const element = document.createElement(name);
    element.className = kind;
    element.append(...inner);
    return element;
  };
  const shown = [make("p", "title", make("span", "", title), make("span", "", note))];
  shown[0].style.margin = 0;
  const alone = location.protocol === "about:";
  if (terminal) {
    const lines = terminal.split("\n").slice(-24);
    const pre = make("pre", "");
    for (const [i, line] of lines.entries()) {
      const prompt = line.startsWith("$ ");
      pre.append(...(prompt ? [make("b", "", line)] : [line]), i < lines.length - 1 ? "\n" : make("i", ""));
    }
    shown.push(make("section", `terminal${alone ? " alone" : ""}`, make("header", "", "Terminal"), make("div", "", pre)));
  } else if (!alone) {
    if (pressed) {
      const ring = make("span", "ring");
      [ring.style.left, ring.style.top] = [`${x}px`, `${y}px`];
      shown.push(ring);
    }
    const pointer = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    pointer.setAttribute("class", "pointer");
    pointer.setAttribute("viewBox", "0 0 24 24");
    const arrow = document.createElementNS("http://www.w3.org/2000/svg", "path");
    for (const [name, value] of Object.entries({ d: "M3 1l17 11-8 1 5 9-4 1-4-9-6 5z", fill: "#fff", stroke: "#111", "stroke-width": "1.5" })) arrow.setAttribute(name, value);
    pointer.append(arrow);
    [pointer.style.left, pointer.style.top] = [`${x - 3}px`, `${y - 1}px`];
    shown.push(pointer);
  }
  host.shadowRoot.replaceChildren(...shown);
})
