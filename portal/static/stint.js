// The pages work without this. It ticks what is left, keeps the browser's zone for the server, closes toasts,
// and says so when a call of htmx got no answer.
"use strict";

(() => {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && !document.cookie.includes("stint-zone=")) {
    document.cookie = `stint-zone=${zone}; path=/; max-age=31536000; samesite=lax${location.protocol === "https:" ? "; secure" : ""}`;
  }

  // One clock: the server's. The page carries its time; the browser's only measures what has passed since.
  const told = document.querySelector('meta[name="stint-now"]');
  const ahead = told ? Date.parse(told.content) - Date.now() : 0;
  const now = () => Date.now() + ahead;

  // The same words as grants/web/words.
  const length = (ms) => {
    const s = Math.max(0, Math.floor(ms / 1000));
    const [days, hours, minutes] = [Math.floor(s / 86400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60];
    if (days) return `${days} day${days > 1 ? "s" : ""}${hours ? ` ${hours} h` : ""}`;
    if (hours) return `${hours} h${minutes ? ` ${minutes} min` : ""}`;
    return minutes ? `${minutes} min` : `${s % 60} s`;
  };
  const left = (ms) => {
    if (ms <= 0) return "ended";
    if (ms >= 60000 && ms < 300000) return `${Math.floor(ms / 60000)} min ${Math.floor(ms / 1000) % 60} s left`;
    return `${length(ms)} left`;
  };
  const stateAt = (at, from, to) => {
    const [rest, soon] = [to - at, Math.min(1800000, (to - from) / 4)];
    return rest <= 0 ? "ended" : rest < soon ? "ending" : "granted";
  };
  const put = (node, name, value) => { if (node && node.getAttribute(name) !== value) node.setAttribute(name, value); };

  const tick = () => {
    const at = now();
    for (const node of document.querySelectorAll("[data-until]")) {
      const until = Date.parse(node.dataset.until);
      const text = left(until - at);
      if (node.textContent !== text) node.textContent = text;
      if (node.dataset.since) put(node, "data-state", stateAt(at, Date.parse(node.dataset.since), until));
    }
    for (const node of document.querySelectorAll(".span[data-from]")) {
      const [from, to] = [Date.parse(node.dataset.from), Date.parse(node.dataset.to)];
      if (at < from) continue;
      const past = Math.min(100, ((at - from) / (to - from)) * 100);
      put(node, "data-state", stateAt(at, from, to));
      put(node.querySelector(".span-past"), "width", `${past.toFixed(2)}%`);
      put(node.querySelector(".span-left"), "x", `${past.toFixed(2)}%`);
      put(node.querySelector(".span-left"), "width", `${(100 - past).toFixed(2)}%`);
    }
  };
  setInterval(tick, 1000);

  // A toast leaves by itself, unless somebody is reading it with the pointer or the keyboard.
  const leave = (toast) => setTimeout(() => (toast.matches(":hover, :focus-within") ? leave(toast) : toast.remove()), 8000);
  for (const toast of document.querySelectorAll(".toast")) {
    const drop = toast.querySelector("[data-drop]");
    drop.hidden = false;
    drop.addEventListener("click", () => toast.remove());
    if (toast.dataset.state !== "denied") leave(toast);
  }

  // Counts what is typed where the field says how much is needed.
  for (const node of document.querySelectorAll("[data-counts]")) {
    const field = document.getElementById(node.dataset.counts);
    const count = () => { node.textContent = `${field.value.trim().replace(/\s+/g, " ").length} so far.`; };
    field.addEventListener("input", count);
    count();
  }

  // Copies what stands on the page; shown only where the browser lets it.
  for (const button of document.querySelectorAll("[data-copy]")) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      const word = button.querySelector("span");
      word.textContent = "Copied";
      setTimeout(() => { word.textContent = "Copy"; }, 4000);
    });
  }

  for (const event of ["htmx:sendError", "htmx:timeout", "htmx:responseError"]) {
    document.addEventListener(event, () => {
      const box = document.getElementById("toasts");
      if (!box) return;
      box.textContent = "";
      const toast = document.createElement("p");
      toast.className = "toast toast-text";
      toast.textContent = "Stint did not answer. What you typed is still here: go on, or try again.";
      box.append(toast);
      leave(toast);
    });
  }
})();
