// Search as you type, and buttons that copy. Every page works without it.
"use strict";
(() => {
  const copyButtons = (root) => {
    if (!navigator.clipboard) return;
    for (const button of root.querySelectorAll("button[data-copy]")) button.hidden = false;
  };
  copyButtons(document);
  document.addEventListener("click", async (event) => {
    const button = event.target instanceof Element && event.target.closest("button[data-copy]");
    if (!button) return;
    const label = button.firstChild;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      label.nodeValue = "Copied";
    } catch {
      label.nodeValue = "Failed";
    }
    setTimeout(() => { label.nodeValue = "Copy"; }, 1500);
  });

  const form = document.querySelector("form[data-live]");
  if (!form) return;
  const input = form.elements.namedItem("q");
  let timer = 0;
  let request = null;
  const search = async () => {
    const query = new URLSearchParams(new FormData(form));
    for (const [key, value] of [...query]) if (value === "") query.delete(key);
    const text = query.toString();
    const address = form.action.split("?")[0] + (text ? "?" + text : "");
    if (request) request.abort();
    request = new AbortController();
    try {
      const answer = await fetch(address, { signal: request.signal, headers: { Accept: "text/html" } });
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const found = page.getElementById("results");
      if (!found) return;
      document.getElementById("results").replaceWith(document.adoptNode(found));
      document.title = page.title;
      const kept = page.querySelector("form.switch");
      const shown = document.querySelector("form.switch");
      if (kept && shown) shown.replaceWith(document.adoptNode(kept));
      history.replaceState(null, "", address);
    } catch (error) {
      if (error.name !== "AbortError") form.submit();
    }
  };
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(search, 150);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(timer);
    search();
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target instanceof Element && event.target.closest("input, textarea, select");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      input.focus();
      input.select();
    }
  });
})();
