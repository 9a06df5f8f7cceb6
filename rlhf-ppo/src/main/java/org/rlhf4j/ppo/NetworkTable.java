package org.rlhf4j.ppo;

import java.util.List;
import org.rlhf4j.core.model.ModelSize;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.report.Format;

/** What networks there are, what is shared and what is trained. */
record NetworkTable(List<Line> lines) {
  /**
   * A part.
   *
   * @param layers in words
   * @param trained whether its weights change
   */
  record Line(String part, String layers, long parameters, boolean trained) {}

  /** The sums over all parts. */
  ModelSize size() {
    return new ModelSize(
        lines.stream().mapToLong(Line::parameters).sum(),
        lines.stream().filter(Line::trained).mapToLong(Line::parameters).sum());
  }

  void show(Console console) {
    console.table(
        "networks",
        List.of("part", "layers", "parameters", "trainable"),
        lines.stream()
            .map(
                line ->
                    List.of(
                        line.part(),
                        line.layers(),
                        Format.count(line.parameters()),
                        line.trained() ? "yes" : "no"))
            .toList());
  }
}
