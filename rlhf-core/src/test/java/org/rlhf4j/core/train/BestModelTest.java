package org.rlhf4j.core.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.checkpoint.AtomicFiles;
import org.rlhf4j.core.report.Console;

class BestModelTest {
  @TempDir Path output;
  private final ByteArrayOutputStream screen = new ByteArrayOutputStream();
  private final Console console =
      Console.plain(new PrintStream(screen, true, StandardCharsets.UTF_8), 200);

  private static TrainingRun.ModelSaver saver(String weights) {
    return folder ->
        AtomicFiles.write(
            folder.resolve("model.safetensors"), weights.getBytes(StandardCharsets.UTF_8));
  }

  private static BestModel.Found found(long step, double score) {
    return new BestModel.Found(step, score);
  }

  @Test
  void theLeastScoreIsKept() throws IOException {
    BestModel best = new BestModel(output);
    best.offer(found(0, 2.0), false, saver("a"));
    best.offer(found(5, 1.5), false, saver("b"));
    best.offer(found(10, 1.5), false, saver("c"));
    assertEquals(found(5, 1.5), best.found());
    Path top = Files.createDirectory(output.resolve("top"));
    best.copyTo(top);
    try (Stream<Path> files = Files.list(top)) {
      assertEquals(List.of(top.resolve("model.safetensors")), files.toList());
    }
    assertEquals("b", Files.readString(top.resolve("model.safetensors")));
  }

  @Test
  void aCheckpointGoesOnWithTheModelThatItMeans() throws IOException {
    new BestModel(output).offer(found(5, 1.5), false, saver("b"));
    BestModel resumed = new BestModel(output);
    resumed.resume(found(5, 1.5), console);
    resumed.offer(found(10, 1.6), false, saver("c"));
    assertEquals("b", Files.readString(output.resolve("best/model.safetensors")));
    assertEquals("", screen.toString(StandardCharsets.UTF_8));
  }

  @Test
  void aModelThatWasWrittenAfterTheCheckpointIsNotTakenForItsOwn() throws IOException {
    // The checkpoint means that of step 0; the run was killed after the evaluation of step 5.
    new BestModel(output).offer(found(5, 1.5), false, saver("b"));
    BestModel resumed = new BestModel(output);
    resumed.resume(found(0, 2.0), console);
    assertNull(resumed.found());
    String said = screen.toString(StandardCharsets.UTF_8);
    assertTrue(said.contains("of step 0, was replaced by that of step 5"), said);
    resumed.offer(found(8, 3.0), false, saver("d"));
    assertEquals("d", Files.readString(output.resolve("best/model.safetensors")));
  }

  @Test
  void aModelThatIsGoneIsSaid() {
    BestModel resumed = new BestModel(output);
    resumed.resume(found(0, 2.0), console);
    assertNull(resumed.found());
    String said = screen.toString(StandardCharsets.UTF_8);
    assertTrue(said.contains("of step 0, is not in " + output.resolve("best")), said);
  }
}
