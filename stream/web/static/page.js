// The page of a run: figures come as server-sent events, the pictures of all sources by one WebSocket.
// Of each source one picture is on its way at most: the server sends the next when this one is said to be drawn.

const NOTICES = { connecting: "Connecting…", lost: "Lost, connecting again…", ended: "Ended", failed: "Failed" };
const RETRY_MS = [500, 1000, 2000, 5000];
const STALE_MS = 1000; // a picture older than this is no live picture

const grid = document.getElementById("grid");
const back = document.getElementById("back");
const trouble = document.getElementById("trouble");
const cards = new Map(); // by name of the source
let socket = null;
let failures = 0;
let shownNow = "";

function makeCard(name) {
  const element = document.getElementById("card").content.firstElementChild.cloneNode(true);
  const view = element.querySelector(".view");
  const card = { name, element, view, canvas: element.querySelector("canvas"), isSeen: false };
  element.querySelector("b").textContent = name;
  view.setAttribute("aria-label", `${name}: enlarge, or show all`);
  view.addEventListener("click", () => { if (cards.size > 1) enlarge(alone() ? "" : name); });
  seen.observe(element);
  sized.observe(view);
  grid.append(element);
  cards.set(name, card);
  return card;
}

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    for (const card of cards.values()) if (card.element === entry.target) card.isSeen = entry.isIntersecting;
  }
  askForPictures();
}, { rootMargin: "100px" });
const sized = new ResizeObserver(() => askForPictures());

// One source alone is named by the address, so that it can be linked to.
function alone() {
  if (cards.size === 1) return cards.keys().next().value;
  const name = decodeURIComponent(location.hash.slice(1));
  return cards.has(name) ? name : null;
}

function enlarge(name) {
  history.replaceState(null, "", name ? `#${encodeURIComponent(name)}` : location.pathname);
  arrange();
}

function arrange() {
  const name = alone();
  grid.classList.toggle("alone", name !== null);
  grid.classList.toggle("only", cards.size === 1);
  back.hidden = name === null || cards.size === 1;
  for (const card of cards.values()) card.element.hidden = name !== null && card.name !== name;
  askForPictures();
}

function showState(run) {
  const names = run.sources.map((source) => source.name);
  let isNew = false;
  for (const source of run.sources) {
    isNew ||= !cards.has(source.name);
    showSource(cards.get(source.name) ?? makeCard(source.name), source);
  }
  for (const name of [...cards.keys()].filter((name) => !names.includes(name))) {
    cards.get(name).element.remove();
    cards.delete(name);
    isNew = true;
  }
  if (isNew) arrange();
  const playing = run.sources.filter((source) => source.state === "playing");
  const people = playing.reduce((sum, source) => sum + source.people, 0);
  const parts = cards.size === 1 ? [] : [`${playing.length} of ${cards.size} playing`];
  document.getElementById("total").textContent = [...parts, `${people} ${people === 1 ? "person" : "people"}`].join(" · ");
}

function showSource(card, source) {
  card.element.className = source.state;
  card.element.querySelector(".notice").textContent = NOTICES[source.state] ?? "";
  const isPlaying = source.state === "playing";
  const put = (what, text, title, kind = "") => {
    const cell = card.element.querySelector(`.${what}`);
    cell.textContent = text;
    cell.title = title;
    cell.className = `${what} ${kind}`;
  };
  const ages = source.age_ms;
  const causes = source.dropped;
  put("fps", isPlaying ? source.fps.toFixed(1) : "–", `${source.frames} frames`);
  put("age", isPlaying && source.frames ? age(ages.latest) : "–",
    `p50 ${age(ages.p50)}, p95 ${age(ages.p95)}, p99 ${age(ages.p99)}`,
    source.live && isPlaying && ages.latest > STALE_MS ? "stale" : "");
  put("people", isPlaying ? source.people : "–", `${source.identities} identities so far`);
  put("dropped", short(causes.total), `${causes.newer} for newer ones, ${causes.before_detection} too old before ` +
    `detection, ${causes.before_output} too old before the output`);
  put("losses", short(source.reconnects), "times that the source was lost", source.reconnects ? "rough" : "");
}

function age(ms) {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

function short(count) {
  return count < 10000 ? String(count) : `${(count / 1000).toFixed(count < 1e5 ? 1 : 0)}k`;
}

// Which sources are on the screen, and how many pixels their shorter side has there.
function askForPictures() {
  const show = {};
  for (const card of document.hidden ? [] : cards.values()) {
    if (card.element.hidden || !card.isSeen) continue;
    const { width, height } = card.canvas;
    const scale = Math.min(card.view.clientWidth / width, card.view.clientHeight / height) * devicePixelRatio;
    // In steps, so that a window that is being resized does not ask at every pixel.
    show[card.name] = Math.max(32, Math.ceil(Math.min(width, height) * scale / 32) * 32);
  }
  const wish = JSON.stringify({ show });
  if (socket?.readyState === WebSocket.OPEN && wish !== shownNow) {
    shownNow = wish;
    socket.send(wish);
  }
}

async function draw(message) {
  const length = new DataView(message).getUint16(0);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(message, 2, length)));
  const card = cards.get(head.source);
  const jpeg = new Blob([new Uint8Array(message, 2 + length)], { type: "image/jpeg" });
  const picture = await createImageBitmap(jpeg);
  if (card) {
    const isOther = card.canvas.width * picture.height !== card.canvas.height * picture.width;
    if (card.canvas.width !== picture.width || card.canvas.height !== picture.height) {
      card.canvas.width = picture.width;
      card.canvas.height = picture.height;
      card.view.style.setProperty("--aspect", `${picture.width} / ${picture.height}`);
    }
    card.canvas.getContext("2d", { alpha: false }).drawImage(picture, 0, 0);
    if (isOther) askForPictures();
  }
  picture.close();
  return head.source;
}

function watch() {
  const here = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/live`);
  here.binaryType = "arraybuffer";
  here.onopen = () => { failures = 0; shownNow = ""; askForPictures(); };
  here.onmessage = async ({ data }) => {
    const drew = await draw(data);
    if (here.readyState === WebSocket.OPEN) here.send(JSON.stringify({ drew }));
  };
  here.onclose = () => { setTimeout(watch, RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)]); };
  socket = here;
}

function listen() {
  const events = new EventSource("/api/events?kinds=state");
  events.addEventListener("state", ({ data }) => { trouble.hidden = true; showState(JSON.parse(data)); });
  events.onerror = () => {
    trouble.textContent = "No connection: the run has ended, or cannot be reached. Trying again…";
    trouble.hidden = false;
    for (const card of cards.values()) card.element.className = "lost";
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_MS.at(-1));
  };
}

back.addEventListener("click", () => enlarge(""));
addEventListener("hashchange", arrange);
document.addEventListener("visibilitychange", askForPictures);
addEventListener("keydown", ({ key, ctrlKey, altKey, metaKey }) => {
  if (ctrlKey || altKey || metaKey || cards.size < 2) return;
  const names = [...cards.keys()];
  if (key === "Escape" || key === "0") enlarge("");
  else if (/^[1-9]$/.test(key) && names.length >= key) enlarge(names[key - 1]);
});

listen();
watch();
