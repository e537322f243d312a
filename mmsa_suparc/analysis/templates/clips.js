for (const box of document.querySelectorAll(".clips")) {
  const { rows, texts } = JSON.parse(box.querySelector("script").textContent);
  const [table, find] = [box.querySelector("table"), box.querySelector(".find")];
  const [field, more] = [find.querySelector("input"), find.querySelector("button")];
  const status = find.querySelector("[role=status]"), heads = [...table.tHead.rows[0].cells];
  const { compare } = new Intl.Collator(undefined, { numeric: true });
  const words = rows.map(row => row.slice(0, texts).join("\n").toLowerCase());
  const STEP = 200;  // rows that are drawn at a time
  let order = rows.map((_, place) => place), most = STEP;
  const draw = () => {
    const asked = field.value.trim().toLowerCase();
    const found = order.filter(place => words[place].includes(asked));
    const drawn = found.slice(0, most).map(place => {
      const line = document.createElement("tr");
      rows[place].forEach((value, column) => {
        const cell = line.insertCell();
        // Never as HTML: ids and words are a stranger's.
        cell.textContent = column < texts ? value : value.toFixed(2);
        if (column < texts) cell.className = "text";
      });
      return line;
    });
    table.tBodies[0].replaceChildren(...drawn);
    more.hidden = found.length <= most;
    status.textContent = `${found.length} of ${rows.length} clips`
      + (more.hidden ? "" : `, the first ${most} shown`);
  };
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const first = column < texts ? "ascending" : "descending";
    const other = column < texts ? "descending" : "ascending";
    const way = head.getAttribute("aria-sort") === first ? other : first;
    heads.forEach(each => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", way);
    const sign = way === "ascending" ? 1 : -1;
    const apart = column < texts ? compare : (x, y) => x - y;
    order.sort((a, b) => sign * apart(rows[a][column], rows[b][column]));
    most = STEP;
    draw();
  }));
  field.addEventListener("input", () => { most = STEP; draw(); });
  more.addEventListener("click", () => { most += STEP; draw(); });
  find.hidden = false;
  draw();
}
