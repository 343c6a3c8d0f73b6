package main

import (
	"fmt"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// Colours that are told apart without seeing red or green as such.
var colours = []color.RGBA{{R: 0x00, G: 0x72, B: 0xb2, A: 0xff}, {R: 0xd5, G: 0x5e, B: 0x00, A: 0xff}, {R: 0x00, G: 0x9e, B: 0x73, A: 0xff}, {R: 0xcc, G: 0x79, B: 0xa7, A: 0xff}}

// plot draws what the model says of machines with more cores, by partitions, and the rate that was measured.
func (f *found) plot(file string) error {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = "All stages on one machine, as computed", "cores", "messages/s"
	p.BackgroundColor = color.White // a page may be dark
	p.X.Min, p.Y.Min = 0, 0
	p.Add(plotter.NewGrid())
	most := machineCores[len(machineCores)-1]
	for i, partitions := range []int{1, 2, 4, 8} {
		var points plotter.XYs
		for cores := range most {
			l := f.atMost(float64(cores+1), f.sum(theLoad), partitions, f.serials()...)
			points = append(points, plotter.XY{X: float64(cores + 1), Y: l.Rate})
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return err
		}
		line.Color, line.Width = colours[i], vg.Points(2)
		p.Add(line)
		p.Legend.Add(fmt.Sprintf("P = %d", partitions), line)
	}
	measured, err := plotter.NewScatter(plotter.XYs{{X: f.whole.cores(), Y: f.whole.rate()}})
	if err != nil {
		return err
	}
	measured.Radius = vg.Points(4)
	p.Add(measured)
	p.Legend.Add("measured, with the publisher", measured)
	p.Legend.Top, p.Legend.Left = true, true
	return p.Save(8*vg.Inch, 3.5*vg.Inch, file)
}
