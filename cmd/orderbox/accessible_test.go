package main

import (
	"github.com/chromedp/chromedp"
)

// obstaclesJS names what keeps somebody from using a page: by a screen reader, the keyboard, or with eyes that need
// WCAG's contrast (AA: 4.5 to 1, of large text 3 to 1).
const obstaclesJS = `(() => {
	const found = [];
	const name = (element) => element.outerHTML.slice(0, 120);
	const hidden = (element) => !element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
	const all = (selector) => [...document.querySelectorAll(selector)].filter((element) => !hidden(element));
	const require = (holds, what) => { if (!holds) found.push(what); };

	require(/^(en|ru)$/.test(document.documentElement.lang), "the language is not said");
	require(document.title.length > 11, "the title says nothing");
	for (const one of ["h1", "main", "body > header", "body > footer"]) require(all(one).length === 1, all(one).length + " of " + one);
	require(document.querySelector("body > a.skip[href='#main']") === document.body.firstElementChild, "the skip link is not first");
	require(document.querySelector("[role=status]#said"), "nothing is read out");
	let level = 1;
	for (const heading of all("main h1, main h2, main h3, main h4")) {
		require(Number(heading.tagName[1]) <= level + 1, "a level is left out before " + name(heading));
		level = Number(heading.tagName[1]);
	}
	const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
	require(new Set(ids).size === ids.length, "ids come twice: " + ids.filter((id, i) => ids.indexOf(id) !== i));
	for (const field of all("input:not([type=hidden]), select, textarea")) require(field.labels.length || field.ariaLabel, "no label: " + name(field));
	for (const control of all("a[href], button, summary")) require((control.ariaLabel || control.textContent).trim(), "no name: " + name(control));
	for (const picture of all("img")) require(picture.hasAttribute("alt"), "no alternative: " + name(picture));
	for (const part of all("nav, section, article, table, progress, [tabindex='0']")) {
		require(part.ariaLabel || part.matches(".hero") || document.getElementById(part.getAttribute("aria-labelledby")), "no name: " + name(part));
	}
	for (const referring of all("[aria-labelledby], [aria-describedby], label[for]")) {
		const id = referring.htmlFor || referring.getAttribute("aria-labelledby") || referring.getAttribute("aria-describedby");
		require(document.getElementById(id), "there is no " + id);
	}
	for (const cell of all("th")) require(cell.scope, "no scope: " + name(cell));
	require(!document.querySelector("[tabindex]:not([tabindex='0'], [tabindex='-1'])"), "the order of the focus is changed");

	const channels = (color) => color.match(/[\d.]+/g).map(Number);
	const luminance = (color) => channels(color).slice(0, 3).map((c) => c / 255)
		.map((c) => (c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)).reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
	const ground = (element) => {
		for (; element; element = element.parentElement) {
			const color = getComputedStyle(element).backgroundColor;
			if ((channels(color)[3] ?? 1) === 1) return color;
		}
		return "rgb(255, 255, 255)";
	};
	const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (texts.nextNode()) {
		const element = texts.currentNode.parentElement;
		if (!texts.currentNode.data.trim() || hidden(element) || element.closest(".sr, .skip, script, option, [disabled]")) continue;
		const style = getComputedStyle(element);
		const size = parseFloat(style.fontSize);
		if (size === 0) continue; // what its sign stands for
		const [light, dark] = [luminance(style.color), luminance(ground(element))].sort((a, b) => b - a);
		const contrast = (light + .05) / (dark + .05);
		const large = size >= 24 || size >= 18.66 && Number(style.fontWeight) >= 700;
		if (contrast < (large ? 3 : 4.5)) found.push("contrast " + contrast.toFixed(2) + ": " + name(element));
	}
	return [...new Set(found)];
})()`

// mustBeAccessible fails for each obstacle on the page as it is shown now.
func (b *browser) mustBeAccessible(what string) {
	b.Helper()
	for _, obstacle := range ask(b, "look for obstacles on "+what, chromedp.Evaluate[[]string](obstaclesJS)) {
		b.Errorf("%s: %s", what, obstacle)
	}
}
