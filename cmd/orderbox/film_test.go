package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/chromedp/chromedp"

	"orderbox/internal/testservers"
)

// filmEnv names the directory into which the newcomer's way is filmed, as docs/demo.mp4 and docs/demo.webp are.
const filmEnv = "ORDERBOX_TEST_FILM"

// film is pictures of a browser's page, each with the time for which it is shown, so that a slow machine makes no
// slow film. In front of the page are a title, a terminal and a pointer. A nil one takes no pictures.
type film struct {
	*browser
	into, dir string // where the film goes, and the pictures
	list      strings.Builder
	last      []byte // picture
	pictures  int
	shown     overlay
}

// overlay is what film.js shows in front of the page.
type overlay struct {
	Title    string  `json:"title"`
	Note     string  `json:"note"`
	Terminal string  `json:"terminal"` // empty is none
	X        float64 `json:"x"`
	Y        float64 `json:"y"`
	Pressed  bool    `json:"pressed"`
}

// target is where something will be in the window once it is scrolled so far.
type target struct {
	X, Y, Scroll float64
}

// mustFilm films a browser if that is asked for.
func mustFilm(b *browser) *film {
	b.Helper()
	into := os.Getenv(filmEnv)
	if into == "" {
		return nil
	}
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		b.Fatal("no ffmpeg is on the PATH, which makes a film of the pictures; try: apt-get install ffmpeg")
	}
	b.do("take the film's size", chromedp.EmulateViewport(1280, 720))
	return &film{browser: b, into: into, dir: testservers.Dir(b), shown: overlay{X: 640, Y: 360}}
}

// listen is where the page is: for a film where the README says.
func (f *film) listen() string {
	if f == nil {
		return "127.0.0.1:0"
	}
	return "127.0.0.1:8080"
}

// hold shows the page as it is now for so many seconds.
func (f *film) hold(seconds float64) {
	if f == nil {
		return
	}
	f.Helper()
	state, err := json.Marshal(f.shown)
	if err != nil {
		f.Fatal(err)
	}
	ask(f.browser, "draw the overlay", chromedp.Evaluate[any](fmt.Sprintf("%s(%s)", f.script(), state)))
	png := ask(f.browser, "take a picture", chromedp.CaptureScreenshot())
	if !bytes.Equal(png, f.last) {
		f.pictures++
		f.last = png
		if err := os.WriteFile(filepath.Join(f.dir, f.picture()), png, 0o644); err != nil {
			f.Fatal(err)
		}
	}
	fmt.Fprintf(&f.list, "file %s\nduration %.3f\n", f.picture(), seconds)
}

func (f *film) picture() string { return fmt.Sprintf("%05d.png", f.pictures) }

func (f *film) script() string {
	f.Helper()
	text, err := os.ReadFile("testdata/film.js")
	if err != nil {
		f.Fatal(err)
	}
	return string(text)
}

// caption says what comes next.
func (f *film) caption(title string) {
	if f != nil {
		f.shown.Title, f.shown.Note, f.shown.Terminal = title, "", ""
		f.hold(0.8)
	}
}

// note says what there is to see on the page.
func (f *film) note(text string) {
	if f != nil {
		f.shown.Note, f.shown.Terminal = strings.ReplaceAll(text, "`", ""), ""
		f.hold(1.7)
	}
}

// turn shows the page that has come.
func (f *film) turn() {
	if f != nil {
		f.shown.Note = ""
		f.hold(0.8)
	}
}

// types types a command into the terminal.
func (f *film) types(command string) {
	if f == nil {
		return
	}
	f.Helper()
	f.shown.Note = ""
	if f.shown.Terminal == "" {
		f.shown.Terminal = "$ "
		f.hold(0.4)
	}
	for part := range f.pieces(command) {
		f.shown.Terminal += part
		f.hold(0.04)
	}
	f.hold(0.2)
}

// prints shows what the command printed, and the next prompt.
func (f *film) prints(out string) {
	if f == nil {
		return
	}
	f.Helper()
	f.shown.Terminal += "\n" + out + "$ "
	f.hold(0.7 + 0.2*float64(strings.Count(out, "\n")))
}

// pieces are the parts of a text that are typed at once: all, when nobody looks.
func (f *film) pieces(text string) iter.Seq[string] {
	if f == nil {
		return slices.Values([]string{text})
	}
	return func(yield func(string) bool) {
		for part := range slices.Chunk([]rune(text), 3) {
			if !yield(string(part)) {
				return
			}
		}
	}
}

// targetJS says where an element is to be found, and how far the page must be scrolled for that.
const targetJS = `((element) => {
	const [box, height] = [element.getBoundingClientRect(), innerHeight - 56];
	const middle = box.height > height ? box.top + 60 : box.top + box.height / 2;
	const far = middle < 80 || middle > height - 60 ? middle - height / 2 : 0;
	const scroll = Math.max(-scrollY, Math.min(far, document.documentElement.scrollHeight - innerHeight - scrollY));
	return { X: box.left + Math.min(box.width / 2, 140), Y: middle - scroll, Scroll: scroll };
})(document.querySelector(%q))`

// point moves the pointer to an element and presses.
func (f *film) point(selector string) {
	if f == nil {
		return
	}
	f.Helper()
	f.aim(selector)
	f.shown.Pressed = true
	f.hold(0.25)
	f.shown.Pressed = false
	f.hold(0.1)
}

// aim moves the pointer to an element; the terminal gives way to the page.
func (f *film) aim(selector string) {
	if f == nil {
		return
	}
	f.Helper()
	f.shown.Terminal = ""
	to := ask(f.browser, "look for "+selector, chromedp.Evaluate[target](fmt.Sprintf(targetJS, selector)))
	from := f.shown
	const steps = 12
	for i := range steps {
		part := float64(i+1) / steps
		part = part * part * (3 - 2*part) // slow, fast, slow
		f.shown.X, f.shown.Y = from.X+(to.X-from.X)*part, from.Y+(to.Y-from.Y)*part
		if to.Scroll != 0 {
			ask(f.browser, "scroll", chromedp.Evaluate[any](fmt.Sprintf("scrollBy({ top: %f, behavior: 'instant' })", to.Scroll/steps)))
		}
		f.hold(0.03)
	}
}

// render makes the films of the pictures.
func (f *film) render() {
	if f == nil || f.Failed() {
		return
	}
	f.Helper()
	f.list.WriteString("file " + f.picture() + "\n") // ffmpeg leaves out the last one's time otherwise
	list := filepath.Join(f.dir, "list.txt")
	if err := os.WriteFile(list, []byte(f.list.String()), 0o644); err != nil {
		f.Fatal(err)
	}
	for name, how := range map[string]string{
		"demo.mp4":  "-vf fps=25,format=yuv420p -c:v libx264 -preset slow -crf 23 -tune animation -movflags +faststart",
		"demo.webp": "-vf fps=10,scale=960:-1:flags=lanczos -c:v libwebp_anim -q:v 60 -compression_level 4 -loop 0",
	} {
		args := append(strings.Fields("-hide_banner -loglevel error -y -f concat -i "+list), strings.Fields(how)...)
		out, err := exec.CommandContext(f.Context(), "ffmpeg", append(args, "-fflags", "+bitexact", filepath.Join(f.into, name))...).CombinedOutput()
		if err != nil {
			f.Fatalf("ffmpeg: %v\n%s", err, out)
		}
	}
	f.Logf("%d pictures", f.pictures)
}
