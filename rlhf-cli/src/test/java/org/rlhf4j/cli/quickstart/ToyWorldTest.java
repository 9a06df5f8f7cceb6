package org.rlhf4j.cli.quickstart;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ToyWorldTest {
  @TempDir private Path folder;

  @Test
  void everyRequestOccursOnceInAnOrderThatTheSeedDecides() {
    List<Request> requests = Request.shuffled(1);
    assertEquals(16 * 10 * 16, requests.size());
    assertEquals(requests.size(), new HashSet<>(requests).size());
    assertEquals(requests, Request.shuffled(1));
    assertNotEquals(requests, Request.shuffled(2));
    assertEquals(new HashSet<>(requests), new HashSet<>(Request.shuffled(2)));
  }

  @Test
  void aRequestReadsAsEnglish() {
    Request.Hero ben = new Request.Hero("Ben", false);
    assertEquals(
        "Tell me a story about Ben and a big hat.\n", new Request(ben, "big", "hat").prompt());
    assertEquals(
        "Tell me a story about Ben and an old hat.\n", new Request(ben, "old", "hat").prompt());
  }

  @Test
  void theThreePartsHaveNoRequestInCommon() {
    ToyData data = new ToyData(folder, Recipe.standard(), 3);
    Set<Request> all = new HashSet<>(data.training());
    all.addAll(data.heldOut());
    all.addAll(data.compared());
    assertEquals(2560, all.size());
    assertEquals(2560, data.training().size() + data.heldOut().size() + data.compared().size());
  }

  @Test
  void openingsAreFilledIn() {
    List<Request> requests = Request.shuffled(5);
    Set<String> forms = new HashSet<>();
    for (int i = 0; i < 500; i++) {
      String opening = Demonstrations.opening(requests.get(i), 5, i);
      assertFalse(opening.contains("{") || opening.contains("}"), opening);
      forms.add(opening.replace(requests.get(i).hero().name(), "X").substring(0, 9));
    }
    assertTrue(forms.size() > 3, forms.toString());
  }

  @Test
  void aDemonstrationEndsWithItsLastWholeSentence() {
    assertEquals("One day.", Demonstrations.wholeSentences("One day. It was"));
    assertEquals("He ran. He fell!", Demonstrations.wholeSentences("He ran.\nHe fell! Then he"));
    assertEquals("She said, \"No!\"", Demonstrations.wholeSentences("She said, \"No!\" and \"Y"));
    assertEquals("no end", Demonstrations.wholeSentences(" no  end "));
  }

  @Test
  void winsCountOverAllPairsOfStoriesAndTiesHalf() {
    // 2 beats 1 and ties with 2; 0 loses to both: 1.5 of 4. The second request: 1 of 1.
    double rate =
        Evaluation.winRate(
            List.of(new double[] {2, 0}, new double[] {5}),
            List.of(new double[] {1, 2}, new double[] {3}));
    assertEquals(2.5 / 5, rate, 1e-12);
  }

  @Test
  void theFirstFreeFolderIsTaken() throws Exception {
    assertEquals(folder.resolve("quickstart"), ToyFolder.free(folder, "quickstart"));
    Files.createDirectory(folder.resolve("quickstart"));
    assertEquals(folder.resolve("quickstart-2"), ToyFolder.free(folder, "quickstart"));
    Files.createDirectory(folder.resolve("quickstart-2"));
    assertEquals(folder.resolve("quickstart-3"), ToyFolder.free(folder, "quickstart"));
  }

  @Test
  void anEchoingStoryIsNoLongerAndSaysASentenceTwice() {
    assertEquals(
        "Mia had a ball. She ran. She fell! She ran.",
        Demonstrations.echoing("Mia had a ball. She ran. She fell! She was happy."));
    assertEquals("She ran. She ran.", Demonstrations.echoing("She ran. He sat."));
    assertEquals("She ran.", Demonstrations.echoing("She ran."));
  }
}
