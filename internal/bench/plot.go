package main

import (
	"image/color"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Colours that are told apart without seeing red or green as such.
var (
	blue   = color.RGBA{R: 0x00, G: 0x72, B: 0xb2, A: 0xff}
	orange = color.RGBA{R: 0xd5, G: 0x5e, B: 0x00, A: 0xff}
)

const plotWidth, plotHeight = 8 * vg.Inch, 3.5 * vg.Inch

// plot draws what the figures say.
func (b *bench) plot(dir string) error {
	for name, draw := range map[string]func() (*plot.Plot, error){
		"ratios": b.plotRatios, "latency": b.plotLatency, "lookups": b.plotLookups, "growth": b.plotGrowth,
	} {
		p, err := draw()
		if err != nil {
			return err
		}
		p.BackgroundColor = color.White // a page may be dark
		if err := p.Save(plotWidth, plotHeight, filepath.Join(dir, name+".svg")); err != nil {
			return err
		}
	}
	return nil
}

// rounds are bars with the spread of the rounds on them.
type rounds struct {
	plotter.Values // medians
	plotter.YErrors
}

func (r rounds) XY(i int) (x, y float64) { return float64(i), r.Values[i] }

func (r *rounds) add(values []float64) {
	m := median(values)
	r.Values = append(r.Values, m)
	r.YErrors = append(r.YErrors, struct{ Low, High float64 }{m - slices.Min(values), slices.Max(values) - m})
}

// bars draws them upright.
func bars(p *plot.Plot, r rounds, names []string) error {
	chart, err := plotter.NewBarChart(r.Values, vg.Points(36))
	if err != nil {
		return err
	}
	chart.Color, chart.LineStyle.Width = blue, 0
	spreads, err := plotter.NewYErrorBars(r)
	if err != nil {
		return err
	}
	p.Add(plotter.NewGrid(), chart, spreads)
	p.NominalX(names...)
	p.X.Min, p.X.Max = -0.5, float64(len(names))-0.5 // a whole bar at either end
	p.Y.Min, p.Y.Max = 0, p.Y.Max*1.1
	return nil
}

// plotRatios has a bar for each row that has a goal about its limit, and the goal on it.
func (b *bench) plotRatios() (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = "Ratio to the limit, and the goal"
	var r rounds
	var names []string
	var least, most plotter.XYs
	for _, f := range b.figures {
		if !f.Goal.Ratio || f.Goal.Least == 0 && f.Goal.Most == 0 {
			continue
		}
		at := float64(len(names))
		if f.Goal.Least > 0 {
			least = append(least, plotter.XY{X: at, Y: f.Goal.Least})
		} else {
			most = append(most, plotter.XY{X: at, Y: f.Goal.Most})
		}
		r.add(f.Scores())
		names = append(names, f.Short)
	}
	if err := bars(p, r, names); err != nil {
		return nil, err
	}
	for _, goal := range []struct {
		name  string
		at    plotter.XYs
		shape draw.GlyphDrawer
	}{{"at least", least, draw.PyramidGlyph{}}, {"at most", most, draw.CircleGlyph{}}} {
		if len(goal.at) == 0 {
			continue
		}
		s, err := plotter.NewScatter(goal.at)
		if err != nil {
			return nil, err
		}
		s.GlyphStyle = draw.GlyphStyle{Color: orange, Radius: vg.Points(5), Shape: goal.shape}
		p.Add(s)
		p.Legend.Add(goal.name, s)
	}
	p.Legend.Top, p.Legend.Left = true, true
	p.Y.Max *= 1.2 // room for the legend
	return p, nil
}

// plotLatency has the share of messages that were visible after a time.
func (b *bench) plotLatency() (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = "Published to visible, at 1,000 messages/s"
	p.X.Label.Text, p.Y.Label.Text = "ms", "% of the messages"
	sorted := slices.Sorted(slices.Values(b.latencyAll))
	points := make(plotter.XYs, len(sorted))
	for i, ms := range sorted {
		points[i] = plotter.XY{X: ms, Y: 100 * float64(i+1) / float64(len(sorted))}
	}
	if err := line(p, points, blue); err != nil {
		return nil, err
	}
	s, err := plotter.NewScatter(plotter.XYs{{X: latencyP50, Y: 50}, {X: latencyP99, Y: 99}})
	if err != nil {
		return nil, err
	}
	s.GlyphStyle = draw.GlyphStyle{Color: orange, Radius: vg.Points(5), Shape: draw.CrossGlyph{}}
	p.Add(s)
	p.Legend.Add("goals", s)
	p.X.Min, p.Y.Min = 0, 0
	return p, nil
}

func line(p *plot.Plot, points plotter.XYs, c color.Color) error {
	l, err := plotter.NewLine(points)
	if err != nil {
		return err
	}
	l.Color, l.Width = c, vg.Points(2)
	p.Add(plotter.NewGrid(), l)
	return nil
}

// plotLookups has the rates of the service, the bare servers and nginx.
func (b *bench) plotLookups() (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = "GET by id, 64 connections, random orders"
	p.Y.Label.Text = "GET/s"
	var r rounds
	var names []string
	for _, f := range b.figures {
		if f.Row != "get" || f.Limit == "" {
			continue
		}
		if names == nil {
			r.add(f.Values)
			names = append(names, "Orderbox")
		}
		r.add(f.Limits)
		names = append(names, f.Short)
	}
	return p, bars(p, r, names)
}

// plotGrowth has the rate of projecting while the large database was filled.
func (b *bench) plotGrowth() (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = "Projecting, as the database grows"
	p.X.Label.Text, p.Y.Label.Text = "million orders there are", "messages/s"
	if len(b.filling) < 2 {
		return p, nil // filled by an earlier run
	}
	err := line(p, b.filling, blue)
	p.X.Min, p.Y.Min = 0, 0
	return p, err
}
