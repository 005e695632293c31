// What a check by hand would look for, read from the page as it is drawn.
(() => {
  const rgb = (text) => (text.match(/[\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => {
    const part = (value) => { const one = value / 255; return one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4; };
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const contrast = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const named = (element) => Boolean(
    element.getAttribute("aria-label") || element.labels?.length || element.innerText?.trim() || element.title ||
    (element.getAttribute("aria-labelledby") && document.getElementById(element.getAttribute("aria-labelledby"))));
  const shown = (element) => element.checkVisibility() && element.getClientRects().length > 0;
  const weak = [];
  for (const element of document.querySelectorAll("body *")) {
    const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!hasText || !shown(element) || element.closest(":disabled, .hidden, noscript, option")) continue;
    const style = getComputedStyle(element);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const found = contrast(rgb(style.color), ground(element));
    if (found < (isLarge ? 3 : 4.5)) weak.push(`${element.tagName} ${element.textContent.trim().slice(0, 30)} ${found.toFixed(2)}`);
  }
  const root = getComputedStyle(document.documentElement);
  const hex = (name) => { const text = root.getPropertyValue(name).trim(); return [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16)); };
  return {
    weak,
    lines: ["--line-delivered", "--line-opened", "--line-clicked", "--accent", "--edge-strong"].map((name) => contrast(hex(name), hex("--surface"))),
    unnamed: [...document.querySelectorAll("button, a, input:not([type=hidden]), select, summary, progress, [role=img], [role=region], [role=group]")].filter((one) => shown(one) && !named(one)).map((one) => one.outerHTML.slice(0, 80)),
    small: [...document.querySelectorAll("button, select, input:not([type=hidden]), summary")].filter((one) => shown(one) && one.getBoundingClientRect().height < 24).map((one) => one.outerHTML.slice(0, 80)),
    landmarks: ["header", "main", "footer", "h1"].map((one) => document.querySelectorAll(one).length),
    uncaptioned: [...document.querySelectorAll("table")].filter((one) => !one.caption?.innerText && !one.caption?.textContent).length,
    headings: [...document.querySelectorAll("h1, h2, h3")].map((one) => Number(one.tagName[1])),
    twice: [...document.querySelectorAll("[id]")].map((one) => one.id).filter((id, place, all) => all.indexOf(id) !== place),
    unheaded: [...document.querySelectorAll("th")].filter((one) => !one.scope).length,
    language: document.documentElement.lang,
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    inline: document.querySelectorAll("body [style]:not(.uplot, .uplot *), style, script:not([src]), [onclick], [onload]").length,
    background: getComputedStyle(document.body).backgroundColor,
  };
})()
