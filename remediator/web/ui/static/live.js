// Keeps the marked sections of a page fresh: on every journal entry, and now and then for what is not journalled.
"use strict";
(() => {
  // The script lies beside the pages, wherever that is on this server.
  const script = document.currentScript.src;
  const sections = [...document.querySelectorAll("[data-live][id]")].map((section) => section.id);
  if (!sections.length) return;
  const light = document.getElementById("live");
  const typing = (section) => section.contains(document.activeElement) && document.activeElement !== document.body;
  let timer = 0;

  async function refresh() {
    timer = 0;
    if (document.hidden) return;
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const id of sections) {
      const old = document.getElementById(id);
      const fresh = page.getElementById(id);
      if (!old || !fresh || typing(old) || old.innerHTML === fresh.innerHTML) continue;
      for (const details of fresh.querySelectorAll("details[id]")) {
        const before = document.getElementById(details.id);
        if (before) details.open = before.open;
      }
      old.replaceWith(fresh);
    }
  }

  function soon(delay) {
    if (!timer) timer = setTimeout(() => refresh().catch(() => {}), delay);
  }

  function show(alive) {
    light.hidden = false;
    light.textContent = alive ? "live" : "offline";
    light.classList.toggle("off", !alive);
  }

  const events = new EventSource(new URL("../api/v1/events", script));
  events.onopen = () => show(true);
  events.onerror = () => show(false);
  events.onmessage = () => soon(250);
  document.addEventListener("visibilitychange", () => soon(0));
  setInterval(() => soon(0), 10000);
})();
