package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"image/color"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"text/template"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// reportText is the report's prose, with the tables left out.
//
//go:embed stress.tmpl.md
var reportText string

// report writes stress.md and its plots into a directory.
func (s *stress) report(ctx context.Context, c *command) error {
	t, err := template.New("stress.md").Funcs(template.FuncMap{"ends": s.ends, "steps": s.steps}).Parse(reportText)
	if err != nil {
		return err
	}
	commit, err := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return fmt.Errorf("ask for the commit: %w", err)
	}
	var text bytes.Buffer
	if err := t.Execute(&text, map[string]any{
		"Ramps": ramps, "Before": c.Before, "Orders": c.Orders, "Hold": c.Hold, "Commit": strings.TrimSpace(string(commit)),
		"Cores": runtime.NumCPU(), "Go": runtime.Version(), "Date": time.Now().UTC().Format(time.DateOnly),
		"Minutes": time.Since(s.began).Minutes(), "P99": mostP99, "Failed": 100 * mostFailed, "Least": 100 * leastOf, "Behind": mostBehind, "Timeout": timeout,
	}); err != nil {
		return err
	}
	plots := filepath.Join(c.Out, "stress")
	if err := os.MkdirAll(plots, 0o755); err != nil {
		return err
	}
	for _, up := range ramps {
		if err := s.plot(up, filepath.Join(plots, up.Name+".svg")); err != nil {
			return fmt.Errorf("plot %s: %w", up.Name, err)
		}
	}
	return os.WriteFile(filepath.Join(c.Out, "stress.md"), text.Bytes(), 0o644)
}

// of is the results of a ramp for a version, in the order of its steps.
func (s *stress) of(up *ramp, v *version) (of []result) {
	for _, r := range s.results {
		if r.ramp == up && r.version == v.name {
			of = append(of, r)
		}
	}
	return of
}

// ends is where each version broke, in Markdown.
func (s *stress) ends() string {
	var text strings.Builder
	text.WriteString("| ramp | version | most that held | broke at | what broke | scarce there |\n|---|---|---|---|---|---|\n")
	for _, up := range ramps {
		for _, v := range s.versions {
			held, at, what, scarce := "nothing", "not", "", ""
			var most float64
			for _, r := range s.of(up, v) {
				if what = r.broken(); what != "" {
					at, scarce = fmt.Sprintf("%.0f %s", up.x(r), up.Asked), r.Usage.String()
				} else if up.Name == "closed" && r.Answered > most {
					most = r.Answered
					held = fmt.Sprintf("%.0f GET/s over %d connections", r.Answered, r.Connections)
				} else if up.Name != "closed" {
					held = fmt.Sprintf("%.0f %s", up.x(r), up.Asked)
				}
			}
			fmt.Fprintf(&text, "| %s | %s | %s | %s | %s | %s |\n", up.Title, v.name, held, at, what, scarce)
		}
	}
	return text.String()
}

// steps is a ramp in Markdown.
func (s *stress) steps(up *ramp) string {
	var text strings.Builder
	fmt.Fprintf(&text, "| %s | version | lookups/s | p50 | p99 | visible after | service | database | load | others | idle | |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n", up.Asked)
	for _, r := range s.results {
		if r.ramp != up {
			continue
		}
		visible := ""
		if r.Messages > 0 {
			visible = fmt.Sprintf("%.0f ms", r.Behind.Seconds()*1000)
		}
		u := r.Usage
		fmt.Fprintf(&text, "| %.0f | %s | %.0f | %.2f ms | %.2f ms | %s | %.0f %% | %.0f %% | %.0f %% | %.0f %% | %.0f %% | %s |\n", up.x(r), r.version, r.Answered, r.P50, r.P99,
			visible, 100*u.Service, 100*u.Database, 100*u.Load, 100*u.Others, 100*(u.Idle+u.Waiting), r.broken())
	}
	return text.String()
}

// Colours that are told apart without seeing red or green as such.
var (
	blue   = color.RGBA{R: 0x00, G: 0x72, B: 0xb2, A: 0xff}
	orange = color.RGBA{R: 0xd5, G: 0x5e, B: 0x00, A: 0xff}
)

// plot draws a ramp with a line for each version.
func (s *stress) plot(up *ramp, file string) error {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = up.Title, up.Asked, up.yLabel
	p.BackgroundColor = color.White // a page may be dark
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	if up.Name == "closed" {
		p.Y.Min = 0
	} else {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	}
	p.Add(plotter.NewGrid())
	for i, v := range s.versions {
		var points plotter.XYs
		for _, r := range s.of(up, v) {
			points = append(points, plotter.XY{X: up.x(r), Y: max(up.y(r), 0.01)}) // a logarithm wants something
		}
		line, marks, err := plotter.NewLinePoints(points)
		if err != nil {
			return err
		}
		line.Color, line.Width = []color.RGBA{orange, blue}[i+2-len(s.versions)], vg.Points(2)
		marks.Color = line.Color
		p.Add(line, marks)
		p.Legend.Add(v.name, line, marks)
	}
	p.Legend.Top, p.Legend.Left = true, true
	return p.Save(8*vg.Inch, 3.5*vg.Inch, file)
}
