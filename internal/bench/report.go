package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
)

// reportText is the report's prose, with the tables left out.
//
//go:embed performance.tmpl.md
var reportText string

// report writes performance.md and its plots into a directory.
func (b *bench) report(ctx context.Context, dir string) error {
	m, err := thisMachine(ctx, b.worlds["large"], b.began)
	if err != nil {
		return err
	}
	t, err := template.New("performance.md").Funcs(template.FuncMap{
		"table": b.table,
		"count": func(n int) string { return number(float64(n), "") },
	}).Parse(reportText)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := t.Execute(&text, struct {
		Machine    machine
		Sizes      sizes
		Rounds     int
		NginxCache string
		Missed     []figure
	}{m, b.sizes, b.rounds, b.nginxCache, slices.DeleteFunc(slices.Clone(b.figures), func(f figure) bool { return f.Verdict() != "not met" })}); err != nil {
		return err
	}
	plots := filepath.Join(dir, "performance")
	if err := os.MkdirAll(plots, 0o755); err != nil {
		return err
	}
	if err := b.plot(plots); err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, "performance.md"), text.Bytes(), 0o644)
}

// table is the figures of some rows in Markdown.
func (b *bench) table(rows ...string) string {
	var text strings.Builder
	text.WriteString("| what | median (least–most) | limit | ratio | goal | |\n|---|---|---|---|---|---|\n")
	for _, f := range b.figures {
		if !slices.Contains(rows, f.Row) {
			continue
		}
		limit, ratio := "", ""
		if f.Limit != "" {
			limit = f.Limit + ": " + spread(f.Limits, f.Unit)
			f.Goal.Ratio = true
			ratio = spread(f.Scores(), "")
		}
		fmt.Fprintf(&text, "| %s | %s | %s | %s | %s | %s |\n", f.What, spread(f.Values, f.Unit), limit, ratio, f.GoalText(), f.Verdict())
	}
	return text.String()
}
