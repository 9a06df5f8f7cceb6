package org.rlhf4j.cli.quickstart;

import java.util.ArrayList;
import java.util.List;
import org.rlhf4j.core.CounterRandom;
import org.rlhf4j.core.RandomStream;

/**
 * What somebody wants a story about.
 *
 * @param hero whose name the story should have in it
 * @param adjective of the thing, as {@code red}
 * @param thing that the story should have in it, as {@code ball}
 */
record Request(Hero hero, String adjective, String thing) {
  /** A child of the stories. */
  record Hero(String name, boolean girl) {}

  private static final List<Hero> HEROES =
      List.of(
          new Hero("Lily", true),
          new Hero("Mia", true),
          new Hero("Sue", true),
          new Hero("Lucy", true),
          new Hero("Anna", true),
          new Hero("Amy", true),
          new Hero("Sara", true),
          new Hero("Jane", true),
          new Hero("Tim", false),
          new Hero("Ben", false),
          new Hero("Max", false),
          new Hero("Sam", false),
          new Hero("Tom", false),
          new Hero("Jack", false),
          new Hero("Bob", false),
          new Hero("Timmy", false));

  private static final List<String> ADJECTIVES =
      List.of("red", "big", "blue", "little", "new", "old", "pretty", "shiny", "soft", "green");

  private static final List<String> THINGS =
      List.of(
          "ball", "hat", "box", "dog", "cat", "bird", "toy", "car", "doll", "book", "flower",
          "cake", "boat", "kite", "tree", "truck");

  /** The request in words; a story follows on the next line. */
  String prompt() {
    return "Tell me a story about " + hero.name() + " and " + thingWithArticle() + ".\n";
  }

  /** {@code a red ball}, {@code an old hat}. */
  String thingWithArticle() {
    String article = "aeiou".indexOf(adjective.charAt(0)) >= 0 ? "an " : "a ";
    return article + adjective + " " + thing;
  }

  /** Every request there is, in an order that depends on the seed. */
  static List<Request> shuffled(long seed) {
    List<Request> requests = new ArrayList<>();
    for (Hero hero : HEROES) {
      for (String adjective : ADJECTIVES) {
        for (String thing : THINGS) {
          requests.add(new Request(hero, adjective, thing));
        }
      }
    }
    for (int last = requests.size() - 1; last > 0; last--) {
      double uniform = CounterRandom.uniform(seed, RandomStream.USER, 0, 0, last);
      int chosen = (int) (uniform * (last + 1));
      Request moved = requests.set(last, requests.get(chosen));
      requests.set(chosen, moved);
    }
    return requests;
  }
}
